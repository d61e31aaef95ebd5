package rediscache

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// trusted is how long after a reply a connection needs no look at its socket:
// the look is a system call, a tenth of what a call costs, and what can have
// come in a millisecond is as likely to come after the look.
const trusted = time.Millisecond

// clock is what connections count time from.
var clock = time.Now()

// A guardConn stands between go-redis and the network for three reasons.
//
// It bounds what the server may announce: go-redis allocates what a length
// such as $99999999999 says before it reads, which no process survives. The
// guard follows the protocol just enough to see every announced length first,
// and breaks the connection when one is too large.
//
// It lets the pool notice at once that all connections of a dead server are
// dead: the pool checks a connection before it hands it out, and the check
// fails for connections that are older than the outage.
//
// And it spares the socket most of the deadlines that go-redis sets, see [deadline].
type guardConn struct {
	net.Conn

	raw      syscall.RawConn // nil if the socket must not be looked at
	scan     replyScanner
	broken   error          // set by Read, for good
	heard    atomic.Int64   // when the last reply came, on clock
	deaths   *atomic.Uint32 // the node's count of deaths…
	lifetime uint32         // …when this connection was made

	read, write deadline
}

func newGuardConn(conn net.Conn, maxReply int64, deaths *atomic.Uint32) *guardConn {
	c := &guardConn{Conn: conn, scan: newReplyScanner(maxReply), deaths: deaths, lifetime: deaths.Load()}
	// Below TLS there are records to see, not replies.
	if socket, ok := conn.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	// TLS does not survive a write that a deadline struck.
	c.read = deadline{arm: conn.SetReadDeadline, exact: c.raw == nil}
	c.write = deadline{arm: conn.SetWriteDeadline, exact: c.raw == nil}
	return c
}

// Read passes on what the scanner accepts.
func (c *guardConn) Read(p []byte) (int, error) {
	if c.broken != nil {
		return 0, c.broken
	}
	n, err := c.Conn.Read(p)
	if n == 0 && err != nil && c.read.retry(err) {
		n, err = c.Conn.Read(p)
	}
	if n > 0 {
		c.heard.Store(int64(time.Since(clock)))
		if bad := c.scan.next(p[:n]); bad != nil {
			c.broken = bad
			_ = c.Close()
			return 0, bad
		}
	}
	return n, err
}

// Write goes on where a deadline struck too early.
func (c *guardConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil && c.write.retry(err) {
		var more int
		more, err = c.Conn.Write(p[n:])
		n += more
	}
	return n, err
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *guardConn) SetDeadline(t time.Time) error {
	return errors.Join(c.read.set(t), c.write.set(t))
}

// SetReadDeadline is for the next Read; one under way may keep its own.
func (c *guardConn) SetReadDeadline(t time.Time) error { return c.read.set(t) }

// SetWriteDeadline is for the next Write; one under way may keep its own.
func (c *guardConn) SetWriteDeadline(t time.Time) error { return c.write.set(t) }

// SyscallConn serves the pool's check before a connection is handed out.
func (c *guardConn) SyscallConn() (syscall.RawConn, error) {
	if c.broken != nil || c.deaths.Load() != c.lifetime {
		return nil, net.ErrClosed
	}
	if c.raw == nil || int64(time.Since(clock))-c.heard.Load() < int64(trusted) {
		return opaqueConn{}, nil
	}
	if err := c.read.settle(); err != nil { // no look where one has struck
		return nil, err
	}
	return c.raw, nil
}

// opaqueConn is a connection whose socket is not looked at: healthy as far as
// anybody can tell.
type opaqueConn struct{}

func (opaqueConn) Control(func(fd uintptr)) error    { return nil }
func (opaqueConn) Read(func(fd uintptr) bool) error  { return nil }
func (opaqueConn) Write(func(fd uintptr) bool) error { return nil }

// maxLine bounds a line without a length: a status, a number, an error.
const maxLine = 64 << 10

// maxDepth bounds nested arrays: go-redis reads them recursively, and a stack
// that overflows ends the process too. CLUSTER and COMMAND replies nest to 7.
const maxDepth = 32

// A replyScanner follows a stream of RESP replies without keeping any of it.
type replyScanner struct {
	max   int64
	body  int64 // bytes of a bulk string, its CRLF included, still to pass
	kind  byte  // first byte of the line being read; 0 between lines
	line  int64 // bytes of that line so far
	num   int64 // the length that the line announces
	neg   bool  // the length is negative: null
	odd   bool  // the length has a character that no number has
	depth int
	left  [maxDepth]int64 // elements still to come, per level
}

func newReplyScanner(maxReply int64) replyScanner { return replyScanner{max: maxReply} }

// next accepts the next bytes of the stream, or says what is wrong with them.
func (s *replyScanner) next(p []byte) error {
	for len(p) > 0 {
		if s.body > 0 {
			n := min(s.body, int64(len(p)))
			s.body -= n
			p = p[n:]
			if s.body == 0 {
				s.done()
			}
			continue
		}
		b := p[0]
		p = p[1:]
		if s.kind == 0 {
			s.kind, s.line, s.num, s.neg, s.odd = b, 0, 0, false, false
			continue
		}
		if b != '\n' {
			if err := s.char(b); err != nil {
				return err
			}
			continue
		}
		if err := s.endLine(); err != nil {
			return err
		}
	}
	return nil
}

// char takes one character of a line.
func (s *replyScanner) char(b byte) error {
	if s.line++; s.line > maxLine {
		return fmt.Errorf("%w: the server sends a line of more than %d bytes", ErrTooLarge, maxLine)
	}
	switch {
	case b >= '0' && b <= '9':
		if s.num <= 1<<52 {
			s.num = s.num*10 + int64(b-'0')
		}
	case b == '-' && s.line == 1:
		s.neg = true
	case b == '\r':
	default:
		s.odd = true
	}
	return nil
}

// endLine acts on what a whole line announced.
func (s *replyScanner) endLine() error {
	kind := s.kind
	s.kind = 0
	if s.odd && strings.IndexByte("$=!*~>%|", kind) >= 0 {
		// go-redis accepts more than digits: $+99999999999.
		return fmt.Errorf("%w: a length that is no number", errProtocol)
	}
	switch kind {
	case '$', '=', '!':
		if s.neg {
			s.done()
			return nil
		}
		if s.num > s.max {
			return fmt.Errorf("%w: the server announces a reply of %d bytes, more than the %d of REDIS_MAX_REPLY_BYTES", ErrTooLarge, s.num, s.max)
		}
		s.body = s.num + 2
	case '*', '~', '>', '%', '|':
		n := s.num
		if s.neg {
			n = 0
		}
		if kind == '%' || kind == '|' {
			n *= 2
		}
		// An element takes at least 16 bytes of ours, before any arrived.
		if n > s.max/16 {
			return fmt.Errorf("%w: the server announces a reply of %d elements", ErrTooLarge, n)
		}
		if kind == '|' {
			n++ // attributes precede the reply that they belong to
		}
		if n == 0 {
			s.done()
			return nil
		}
		if s.depth == maxDepth {
			return fmt.Errorf("%w: the server nests replies more than %d deep", ErrTooLarge, maxDepth)
		}
		s.left[s.depth] = n
		s.depth++
	default:
		s.done()
	}
	return nil
}

// done counts one whole element, and the levels that it completes.
func (s *replyScanner) done() {
	for s.depth > 0 {
		s.left[s.depth-1]--
		if s.left[s.depth-1] > 0 {
			return
		}
		s.depth--
	}
}
