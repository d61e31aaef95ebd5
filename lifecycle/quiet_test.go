package lifecycle_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

// pipes is a listener without a network, so that a server runs in the time of a
// bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() *rawConn {
	here, there := net.Pipe()
	p.conns <- there
	return &rawConn{here, bufio.NewReader(here)}
}

// TestQuietTime shows from when the quiet time counts: from the beginning of
// the stop, however long ago the last request was, and anew from the end of each
// request that comes after that. Without connections there is none.
func TestQuietTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		s := lifecycle.Server(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				time.Sleep(3 * time.Second)
			}
			hello(w, r)
		})}, lifecycle.WithListener(ln), lifecycle.WithQuiet(time.Second))
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		conns := []*rawConn{ln.dial(), ln.dial(), ln.dial()}
		for _, c := range conns {
			c.get(t, "/")
		}
		time.Sleep(time.Minute)
		began := time.Now()
		stopped := make(chan time.Duration, 1)
		go func() {
			if err := s.Stop(t.Context()); err != nil {
				t.Errorf("Stop = %v, want nil", err)
			}
			stopped <- time.Since(began)
		}()
		for i, path := range []string{"/slow", "/"} {
			time.Sleep(900 * time.Millisecond)
			if resp, body := conns[i].get(t, path); body != "hello" || !resp.Close {
				t.Errorf("request %d after the stop began: %q, close %v, want the answer and a close", i+1, body, resp.Close)
			}
		}
		if took := <-stopped; took != 5800*time.Millisecond {
			t.Errorf("Stop took %v, want a second after the end of the last request", took)
		}
		_ = conns[2].Close()

		unused := lifecycle.Server(&http.Server{}, lifecycle.WithListener(&pipes{done: make(chan struct{})}), lifecycle.WithQuiet(time.Second))
		began = time.Now()
		if err := errors.Join(unused.Start(t.Context()), unused.Stop(t.Context())); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Stop without connections took %v, want none", took)
		}
	})
}

// TestLateHook: net/http may report a state of a connection that is closed.
func TestLateHook(t *testing.T) {
	t.Parallel()
	conns := make(chan net.Conn, 1)
	srv := &http.Server{Handler: http.HandlerFunc(hello), ConnState: func(c net.Conn, to http.ConnState) {
		if to == http.StateNew {
			conns <- c
		}
	}}
	s := startServer(t, srv)
	client := dial(t, s)
	client.get(t, "/")
	conn := <-conns
	_ = client.Close()
	eventually(t, "the connection to be gone", func() bool { return s.Conns() == lifecycle.Conns{} })
	srv.ConnState(conn, http.StateActive)
	if got := s.Conns(); got != (lifecycle.Conns{}) {
		t.Errorf("a late report entered the connection again: %+v", got)
	}
}
