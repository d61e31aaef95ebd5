//go:build unix

package busypoll

import (
	"errors"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
)

// A socket looks for what has come.
type socket struct {
	conn net.Conn
	raw  syscall.RawConn
	try  func(fd uintptr) bool // made once, so that a look does not allocate

	p   []byte // of the look under way: where to,…
	n   int    // …how much has come,…
	err error  // …and what else happened: EAGAIN if nothing did
}

// init reports whether conn can be looked at.
func (s *socket) init(conn net.Conn) bool {
	if runtime.NumCPU() == 1 { // a server next to us could not run meanwhile
		return false
	}
	// Other types may do more than read from the socket that they give access to.
	var err error
	switch c := conn.(type) {
	case *net.TCPConn:
		s.raw, err = c.SyscallConn()
	case *net.UnixConn:
		s.raw, err = c.SyscallConn()
	default:
		return false
	}
	s.conn, s.try = conn, s.tryFor
	return err == nil
}

// look reads what comes within limit. Otherwise, and if the connection has come to
// its end, ok is false: a Read tells more.
func (s *socket) look(p []byte) (n int, ok bool, err error) {
	s.p, s.n, s.err = p, 0, nil
	looked := s.raw.Read(s.try) == nil // or it is closed, or beyond its deadline
	s.p = nil
	switch {
	case !looked || errors.Is(s.err, syscall.EAGAIN):
		return 0, false, nil
	case s.err != nil: // the socket says so once
		return 0, true, &net.OpError{Op: "read", Net: s.conn.LocalAddr().Network(), Source: s.conn.LocalAddr(), Addr: s.conn.RemoteAddr(), Err: os.NewSyscallError("read", s.err)}
	}
	return s.n, s.n > 0, nil
}

// tryFor reads from the socket, which does not block, until something has come or
// limit is over.
func (s *socket) tryFor(fd uintptr) (done bool) {
	var start time.Time
	for {
		s.n, s.err = syscall.Read(int(fd), s.p)
		if errors.Is(s.err, syscall.EINTR) {
			continue
		}
		if !errors.Is(s.err, syscall.EAGAIN) {
			return true
		}
		if start.IsZero() {
			start = time.Now()
		} else if time.Since(start) > limit {
			return true
		}
		runtime.Gosched()
	}
}
