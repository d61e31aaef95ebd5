package rediscache

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// soon strikes within a test, later after its end.
const (
	soon  = 20 * time.Millisecond
	later = time.Hour
)

// guardedPair returns both ends of a connection, one guarded, and counts the deadlines
// that its socket gets.
func guardedPair(t *testing.T) (guarded *guardConn, server net.Conn, armed *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	armed = new(atomic.Int32)
	return newGuardConn(countingConn{client.(*net.TCPConn), armed}, 1<<30, new(atomic.Uint32)), server, armed
}

type countingConn struct {
	*net.TCPConn

	armed *atomic.Int32
}

func (c countingConn) SetReadDeadline(t time.Time) error {
	c.armed.Add(1)
	return c.TCPConn.SetReadDeadline(t)
}

func (c countingConn) SetWriteDeadline(t time.Time) error {
	c.armed.Add(1)
	return c.TCPConn.SetWriteDeadline(t)
}

func TestDeadlinesStrikeWhenTheyAreDue(t *testing.T) {
	t.Parallel()
	const none = 0
	for _, c := range []struct {
		name    string
		wanted  []time.Duration // from now; the last counts
		strikes bool
	}{
		{"one", []time.Duration{soon}, true},
		{"passed", []time.Duration{-later}, true},
		{"shorter after longer", []time.Duration{later, soon}, true},
		{"longer after shorter", []time.Duration{soon, 2 * soon}, true},
		{"longer after passed", []time.Duration{-later, later}, false},
		{"far longer after shorter", []time.Duration{soon, later}, false},
		{"none after one", []time.Duration{soon, none}, false},
		{"one after none after another", []time.Duration{later, none, soon}, true},
	} {
		set := func(t *testing.T, to func(time.Time) error) (last time.Time) {
			t.Helper()
			for _, d := range c.wanted {
				if last = time.Now().Add(d); d == none {
					last = time.Time{}
				}
				if err := to(last); err != nil {
					t.Fatal(err)
				}
			}
			return last
		}
		t.Run("read, "+c.name, func(t *testing.T) {
			t.Parallel()
			conn, server, _ := guardedPair(t)
			last := set(t, conn.SetReadDeadline)
			if !c.strikes {
				time.AfterFunc(3*soon, func() { _, _ = server.Write([]byte("+PONG\r\n")) })
			}
			n, err := conn.Read(make([]byte, 16))
			if errors.Is(err, os.ErrDeadlineExceeded) != c.strikes || !c.strikes && n != 7 {
				t.Fatalf("read %d bytes: %v", n, err)
			}
			if c.strikes && time.Now().Before(last) {
				t.Fatalf("struck %v early", time.Until(last))
			}
		})
		t.Run("write, "+c.name, func(t *testing.T) {
			t.Parallel()
			conn, server, _ := guardedPair(t)
			set(t, conn.SetWriteDeadline)
			sent := bytes.Repeat([]byte("0123456789"), 2<<20) // more than sockets hold
			var got []byte
			read := make(chan struct{})
			time.AfterFunc(3*soon, func() {
				defer close(read)
				if !c.strikes {
					got, _ = io.ReadAll(server)
				}
			})
			n, err := conn.Write(sent)
			if errors.Is(err, os.ErrDeadlineExceeded) != c.strikes || !c.strikes && n != len(sent) || c.strikes && n == len(sent) {
				t.Fatalf("wrote %d bytes of %d: %v", n, len(sent), err)
			}
			conn.Close()
			<-read
			if !c.strikes && !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes came of %d, or others", len(got), len(sent))
			}
		})
	}
}

// The pool's look at a socket must not find a deadline that has struck.
func TestALookGoesPastOldDeadlines(t *testing.T) {
	conn, _, _ := guardedPair(t)
	_ = conn.SetReadDeadline(time.Now().Add(-later))
	_ = conn.SetDeadline(time.Time{}) // as the pool does
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	looked := false
	if err := raw.Read(func(uintptr) bool { looked = true; return true }); err != nil || !looked {
		t.Fatal(looked, err)
	}
}

// What go-redis does in a call costs the socket nothing, once it has two deadlines.
func TestDeadlinesOfCallsAreSpared(t *testing.T) {
	conn, _, armed := guardedPair(t)
	for i := range 100 {
		limit := time.Now().Add(later + time.Duration(i))
		if err := errors.Join(conn.SetDeadline(time.Time{}), conn.SetWriteDeadline(limit), conn.SetReadDeadline(limit)); err != nil {
			t.Fatal(err)
		}
	}
	if n := armed.Load(); n != 2 {
		t.Fatalf("the socket got %d deadlines", n)
	}
}

// TLS gets each at once: a write that was struck breaks it.
func TestDeadlinesOfTLSAreExact(t *testing.T) {
	conn, _, armed := guardedPair(t)
	tls := newGuardConn(struct{ net.Conn }{conn.Conn}, 1<<30, new(atomic.Uint32))
	for i := range 100 {
		if err := tls.SetWriteDeadline(time.Now().Add(later + time.Duration(i))); err != nil {
			t.Fatal(err)
		}
	}
	if n := armed.Load(); n != 100 {
		t.Fatalf("the socket got %d deadlines", n)
	}
}
