package rediscache

import (
	"bufio"
	"bytes"
	"net"
	"sync/atomic"
)

// Decode is what a namespace makes of stored bytes.
func Decode[V any](n *Namespace[V], data []byte) (value V, kind int) {
	var f found[V]
	n.decode(data, &f)
	return f.value, int(f.kind)
}

// Reencode parses an envelope and writes it again; nil if it is none.
func Reencode(data []byte) []byte {
	var e envelope
	if e.parse(data) != nil {
		return nil
	}
	return e.append(nil)
}

// ScanReplies passes bytes through the guard, in pieces of the given size, and
// returns its verdict.
func ScanReplies(data []byte, piece int, limit int64) error {
	s := newReplyScanner(limit)
	for len(data) > 0 {
		n := min(max(piece, 1), len(data))
		if err := s.next(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// ReadReplies reads bytes as replies, behind the guard, until they end.
func ReadReplies(data []byte, limit int64) (n int, err error) {
	server, client := net.Pipe()
	go func() {
		_, _ = server.Write(data)
		_ = server.Close()
	}()
	defer client.Close()
	guard := newGuardConn(client, limit, new(atomic.Uint32))
	rc := &respConn{conn: guard, r: bufio.NewReaderSize(guard, 4096)}
	for {
		if _, err := rc.read(); err != nil {
			return n, err
		}
		n++
	}
}

// SplitMGet cuts a raw reply to MGET into its values.
func SplitMGet(raw []byte) (values [][]byte, ok bool) {
	s := replySplitter{rest: bytes.Clone(raw)}
	n := s.array()
	if n < 0 || n > len(raw) {
		return nil, false
	}
	for range n {
		values = append(values, s.bulk())
	}
	return values, !s.bad
}

// FillAfterDrop reads, as it were, a key for the near cache of n, has it
// invalidated before it is stored, and reports whether it was stored.
func FillAfterDrop[V any](n *Namespace[V], key string, value V) bool {
	mark := n.near.mark(key)
	n.invalidated(key)
	n.near.fill(key, &nearEntry[V]{found: found[V]{kind: foundFresh, value: value}}, mark)
	_, stored := n.near.entries.GetIfPresent(key)
	return stored
}

// Calls is how many calls are under way.
func Calls(c *Cache) int64 { return c.lane.calls.Load() }
