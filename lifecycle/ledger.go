package lifecycle

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

var errRefused error = syscall.ECONNREFUSED

// Conns counts the connections of a server by what they do.
type Conns struct {
	New      int // accepted, and no request has come
	Active   int // a request is at work
	Idle     int // kept alive between two requests
	Hijacked int // taken over by a handler, such as a WebSocket
}

// ledger knows all connections of a server until they are closed. net/http
// forgets the hijacked ones, and tells of the others only when asked to shut
// down.
type ledger struct {
	mu      sync.Mutex
	conns   map[*trackedConn]http.ConnState
	counts  Conns
	last    time.Time     // when a request last came or ended
	changed chan struct{} // has room for one: something happened
}

func (l *ledger) init() {
	l.conns = map[*trackedConn]http.ConnState{}
	l.changed = make(chan struct{}, 1)
}

// trackedConn leaves the ledger when it is closed, by whomever.
type trackedConn struct {
	net.Conn
	ledger *ledger
}

// add enters a connection as new.
func (l *ledger) add(conn net.Conn) net.Conn {
	c := &trackedConn{Conn: conn, ledger: l}
	l.move(c, http.StateNew, false)
	return c
}

// record is the server's ConnState hook.
func (l *ledger) record(conn net.Conn, to http.ConnState) {
	for {
		if c, ok := conn.(*trackedConn); ok {
			// The state New is known, and closing is seen by Close; after a
			// hijack, the server has no more to say.
			if to == http.StateActive || to == http.StateIdle || to == http.StateHijacked {
				l.move(c, to, true)
			}
			return
		}
		wrapper, ok := conn.(interface{ NetConn() net.Conn }) // *tls.Conn
		if !ok {
			return
		}
		conn = wrapper.NetConn()
	}
}

// move enters a connection's new state. One that is closed is not entered
// again: a hook may come late.
func (l *ledger) move(c *trackedConn, to http.ConnState, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, ok := l.conns[c]
	if known && !ok {
		return
	}
	if ok {
		*l.counter(from)--
	}
	if to == http.StateClosed {
		delete(l.conns, c)
	} else {
		l.conns[c] = to
		*l.counter(to)++
	}
	if from == http.StateActive || to == http.StateActive {
		l.last = time.Now()
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *ledger) counter(s http.ConnState) *int {
	switch s {
	case http.StateActive:
		return &l.counts.Active
	case http.StateIdle:
		return &l.counts.Idle
	case http.StateHijacked:
		return &l.counts.Hijacked
	default:
		return &l.counts.New
	}
}

func (l *ledger) count() Conns {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// waitQuiet returns when all connections are closed, or when for the time quiet
// no request was at work or came, or when ctx is done. Never-used connections
// count only for the quiet time: somebody may be about to use them.
func (l *ledger) waitQuiet(ctx context.Context, quiet time.Duration) {
	begun := time.Now()
	l.wait(ctx, func() (time.Duration, bool) {
		c := l.counts
		if c == (Conns{}) {
			return 0, true
		}
		since := begun
		if l.last.After(begun) {
			since = l.last
		}
		left := quiet - time.Since(since)
		if c.Active+c.Hijacked > 0 {
			left = time.Hour // nothing but a change can end it
		}
		return left, left <= 0
	})
}

// waitHijacked returns when no hijacked connection is open, or when ctx is done.
func (l *ledger) waitHijacked(ctx context.Context) {
	l.wait(ctx, func() (time.Duration, bool) { return time.Hour, l.counts.Hijacked == 0 })
}

// wait returns when over, called with l.mu held at each change and after the
// time that it returned, says so, or when ctx is done.
func (l *ledger) wait(ctx context.Context, over func() (again time.Duration, ok bool)) {
	for {
		l.mu.Lock()
		again, ok := over()
		l.mu.Unlock()
		if ok {
			return
		}
		t := time.NewTimer(again)
		select {
		case <-l.changed:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// closeNew closes the connections on which no request has come.
func (l *ledger) closeNew() {
	l.close(func(s http.ConnState) bool { return s == http.StateNew })
}

func (l *ledger) closeAll() { l.close(func(http.ConnState) bool { return true }) }

func (l *ledger) close(which func(http.ConnState) bool) {
	l.mu.Lock()
	var list []*trackedConn
	for c, state := range l.conns {
		if which(state) {
			list = append(list, c)
		}
	}
	l.mu.Unlock()
	for _, c := range list {
		_ = c.Close()
	}
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.ledger.move(c, http.StateClosed, true)
	return c.Conn.Close()
}

// ReadFrom lets the server send files without copying them (sendfile(2)).
func (c *trackedConn) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := c.Conn.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// CloseWrite half-closes the connection, where it can be: net/http uses it to
// let a last answer arrive.
func (c *trackedConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn returns the connection underneath, for handlers that hijack it.
func (c *trackedConn) NetConn() net.Conn { return c.Conn }

// SyscallConn gives handlers that hijack the connection its descriptor.
func (c *trackedConn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}
