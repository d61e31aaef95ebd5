package lifecycle_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/lifecycle/lifecycletest"
)

// quiet is long enough that a test can send a request within it on a busy
// machine.
const quiet = 2 * time.Second

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// startServer starts a server on a free port of loopback and stops it at the
// end of the test.
func startServer(t *testing.T, srv *http.Server, opts ...lifecycle.ServerOption) *lifecycle.HTTPServer {
	t.Helper()
	if srv.Addr == "" {
		srv.Addr = "127.0.0.1:0"
	}
	s := lifecycle.Server(srv, opts...)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Stop(ctx)
	})
	return s
}

// stopping begins Stop and returns when the listener is closed.
func stopping(t *testing.T, s *lifecycle.HTTPServer, budget time.Duration) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), budget)
		defer cancel()
		done <- s.Stop(ctx)
	}()
	eventually(t, "the listener to close", func() bool {
		conn, err := net.Dial(s.Addr().Network(), s.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	return done
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10s in vain for %s", what)
		}
	}
}

// rawConn is a client that sends when it is told to, and never again.
type rawConn struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, s *lifecycle.HTTPServer) *rawConn {
	t.Helper()
	conn, err := net.Dial(s.Addr().Network(), s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &rawConn{conn, bufio.NewReader(conn)}
}

// get sends a request and returns the response, its body read.
func (c *rawConn) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestServerIsAComponent(t *testing.T) {
	t.Parallel()
	lifecycletest.Run(t, func(*testing.T) lifecycle.Component {
		return lifecycle.Server(&http.Server{Addr: "127.0.0.1:0", Handler: http.HandlerFunc(hello)})
	})
}

func TestServerAddressTaken(t *testing.T) {
	t.Parallel()
	s := startServer(t, &http.Server{})
	other := lifecycle.Server(&http.Server{Addr: s.Addr().String()})
	if err := other.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Start = %v, want that the address is in use", err)
	}
	if err := other.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v, want nil", err)
	}
}

// TestDrainAnnouncesTheClose shows that Drain makes keep-alive clients leave
// between two requests, and does nothing to their connections itself.
func TestDrainAnnouncesTheClose(t *testing.T) {
	t.Parallel()
	s := startServer(t, &http.Server{Handler: http.HandlerFunc(hello)})
	c, idle := dial(t, s), dial(t, s)
	for _, conn := range []*rawConn{c, idle} {
		if resp, _ := conn.get(t, "/"); resp.Close {
			t.Fatal("a response before Drain closes the connection")
		}
	}
	eventually(t, "both connections to be idle", func() bool { return s.Conns() == lifecycle.Conns{Idle: 2} })
	s.Drain()
	resp, body := c.get(t, "/")
	if !resp.Close || body != "hello" {
		t.Errorf("after Drain: close %v, body %q, want the answer and a close", resp.Close, body)
	}
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the answer: %v, want the end of the connection", err)
	}
	if got := s.Conns().Idle; got != 1 {
		t.Errorf("%d idle connections, want the other one left alone", got)
	}
	if conn := dial(t, s); conn != nil { // still accepting
		if resp, _ := conn.get(t, "/"); !resp.Close {
			t.Error("a new connection after Drain is kept alive")
		}
	}
}

// TestStopAnswersWhatIsUnderWay is the hole that http.Server.Shutdown has: a
// request sent on an idle or a never-used connection after the stop began.
func TestStopAnswersWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	s := startServer(t, &http.Server{Handler: http.HandlerFunc(hello)}, lifecycle.WithQuiet(quiet))
	idle, fresh := dial(t, s), dial(t, s)
	idle.get(t, "/")
	eventually(t, "both connections to be known", func() bool { return s.Conns() == lifecycle.Conns{New: 1, Idle: 1} })
	done := stopping(t, s, 30*time.Second)
	for name, conn := range map[string]*rawConn{"idle": idle, "never used": fresh} {
		if resp, body := conn.get(t, "/"); body != "hello" || !resp.Close {
			t.Errorf("%s connection: %q, close %v, want the answer and a close", name, body, resp.Close)
		}
	}
	if err := <-done; err != nil {
		t.Errorf("Stop = %v, want nil", err)
	}
}

// TestShutdownLosesWhatIsUnderWay is the same with http.Server.Shutdown: should
// it begin to answer, most of this package's server could go.
func TestShutdownLosesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(hello))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _ = srv.Config.Shutdown(context.WithoutCancel(t.Context())) }()
	eventually(t, "the listener to close", func() bool {
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
		_ = resp.Body.Close()
		t.Error("Shutdown answers a request on a never-used connection: is net/http fixed?")
	}
}

// TestNeverUsedConnectionsDoNotHoldUp: with http.Server.Shutdown each costs
// five seconds.
func TestNeverUsedConnectionsDoNotHoldUp(t *testing.T) {
	t.Parallel()
	s := startServer(t, &http.Server{Handler: http.HandlerFunc(hello)}, lifecycle.WithQuiet(-1))
	conn := dial(t, s)
	eventually(t, "the connection to be known", func() bool { return s.Conns().New == 1 })
	began := time.Now()
	if err := <-stopping(t, s, 30*time.Second); err != nil {
		t.Errorf("Stop = %v, want nil", err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("Stop took %v", took)
	}
	if _, err := conn.r.ReadByte(); err == nil {
		t.Error("the connection is open")
	}
}

func TestStreamsAreTold(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/sse", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data: hello\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-lifecycle.Draining(r.Context()):
			_, _ = io.WriteString(w, "event: bye\n\n")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		draining := lifecycle.Draining(r.Context())
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\n")
		_ = rw.Flush()
		go func() { // outlives the handler, as a WebSocket does
			<-draining
			_, _ = io.WriteString(conn, "bye")
			_ = conn.Close()
		}()
	})
	s := startServer(t, &http.Server{Handler: mux})
	sse, hijacked := dial(t, s), dial(t, s)
	for path, conn := range map[string]*rawConn{"/sse": sse, "/hijack": hijacked} {
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	}
	eventually(t, "both streams", func() bool { return s.Conns() == lifecycle.Conns{Active: 1, Hijacked: 1} })
	done := stopping(t, s, 30*time.Second)
	for conn, want := range map[*rawConn]string{sse: "event: bye", hijacked: "bye"} {
		if all, err := io.ReadAll(conn.r); err != nil || !strings.Contains(string(all), want) {
			t.Errorf("got %q and %v, want a good-bye", all, err)
		}
	}
	if err := <-done; err != nil {
		t.Errorf("Stop = %v, want nil", err)
	}
	if got := s.Conns(); got != (lifecycle.Conns{}) {
		t.Errorf("connections after Stop: %+v, want none", got)
	}
}

func TestDrainingOfAnotherContext(t *testing.T) {
	t.Parallel()
	if c := lifecycle.Draining(t.Context()); c != nil {
		t.Errorf("Draining = %v, want nil", c)
	}
}

// TestTimeIsUp shows what becomes of requests that do not end: the context of
// each is cancelled first, and only who ignores that is cut off.
func TestTimeIsUp(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/heeds", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		_, _ = io.WriteString(w, "gave up")
	})
	mux.HandleFunc("/ignores", func(http.ResponseWriter, *http.Request) { <-release })
	t.Run("heeded", func(t *testing.T) {
		t.Parallel()
		s := startServer(t, &http.Server{Handler: mux})
		conn := dial(t, s)
		_, _ = io.WriteString(conn, "GET /heeds HTTP/1.1\r\nHost: x\r\n\r\n")
		eventually(t, "the request", func() bool { return s.Conns().Active == 1 })
		done := stopping(t, s, 5*time.Second)
		if all, err := io.ReadAll(conn.r); err != nil || !strings.Contains(string(all), "gave up") {
			t.Errorf("got %q and %v, want the handler's last word", all, err)
		}
		if err := <-done; err != nil {
			t.Errorf("Stop = %v, want nil", err)
		}
	})
	t.Run("ignored", func(t *testing.T) {
		t.Parallel()
		defer close(release)
		s := startServer(t, &http.Server{Handler: mux})
		conn := dial(t, s)
		_, _ = io.WriteString(conn, "GET /ignores HTTP/1.1\r\nHost: x\r\n\r\n")
		eventually(t, "the request", func() bool { return s.Conns().Active == 1 })
		err := <-stopping(t, s, time.Second)
		if !errors.Is(err, lifecycle.ErrRequestsCut) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop = %v, want ErrRequestsCut and the context's error", err)
		}
		if _, err := conn.r.ReadByte(); err == nil {
			t.Error("the connection is open")
		}
	})
}

func TestServerOnUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	busy := lifecycle.Server(&http.Server{Addr: "unix:" + path})
	if err := busy.Start(t.Context()); err == nil {
		t.Error("Start on a socket that is in use succeeds")
	}
	ln.SetUnlinkOnClose(false) // as a killed process leaves it
	_ = ln.Close()
	s := startServer(t, &http.Server{Addr: "unix:" + path, Handler: http.HandlerFunc(hello)})
	if _, body := dial(t, s).get(t, "/"); body != "hello" {
		t.Errorf("got %q, want hello", body)
	}
	if err := <-stopping(t, s, 30*time.Second); err != nil {
		t.Errorf("Stop = %v, want nil", err)
	}
}

// TestServerOnTLS drains HTTP/1.1 and HTTP/2 over TLS.
func TestServerOnTLS(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			cert := httptest.NewUnstartedServer(nil)
			cert.EnableHTTP2 = true
			cert.StartTLS() // for its certificate, and a client that trusts it
			defer cert.Close()
			srv := &http.Server{
				TLSConfig: &tls.Config{Certificates: cert.TLS.Certificates},
				Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }),
			}
			s := startServer(t, srv, lifecycle.WithQuiet(quiet))
			client := cert.Client()
			if proto == "HTTP/1.1" {
				transport := client.Transport.(*http.Transport).Clone()
				transport.ForceAttemptHTTP2, transport.TLSNextProto = false, map[string]func(string, *tls.Conn) http.RoundTripper{}
				transport.TLSClientConfig.NextProtos = nil
				client = &http.Client{Transport: transport}
			}
			defer client.CloseIdleConnections()
			get := func() {
				t.Helper()
				resp, err := client.Get("https://" + s.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if body, _ := io.ReadAll(resp.Body); string(body) != proto {
					t.Fatalf("got %q, want %q", body, proto)
				}
			}
			get()
			eventually(t, "an idle connection", func() bool { return s.Conns() == lifecycle.Conns{Idle: 1} })
			done := stopping(t, s, 30*time.Second)
			get() // on the connection that there is
			if err := <-done; err != nil {
				t.Errorf("Stop = %v, want nil", err)
			}
			if got := s.Conns(); got != (lifecycle.Conns{}) {
				t.Errorf("connections after Stop: %+v, want none", got)
			}
		})
	}
}

// TestServerFails shows that a broken listener ends the group.
func TestServerFails(t *testing.T) {
	t.Parallel()
	g := newGroup(t, lifecycle.Config{})
	g.Add("http", lifecycle.Server(&http.Server{}, lifecycle.WithListener(brokenListener{})))
	err := componentError(t, g.Run(t.Context()), "http", lifecycle.PhaseRun)
	if !errors.Is(err, errBoom) {
		t.Errorf("Run = %v, want the listener's error", err)
	}
}

type brokenListener struct{ net.Listener }

func (brokenListener) Accept() (net.Conn, error) { return nil, errBoom }
func (brokenListener) Close() error              { return nil }
func (brokenListener) Addr() net.Addr            { return &net.TCPAddr{} }

// TestServerKeepsWhatItWraps shows that the hooks of the host are still called.
func TestServerKeepsWhatItWraps(t *testing.T) {
	t.Parallel()
	type key struct{}
	states := make(chan http.ConnState, 8)
	s := startServer(t, &http.Server{
		BaseContext: func(net.Listener) context.Context { return context.WithValue(context.Background(), key{}, "base") },
		ConnState:   func(_ net.Conn, s http.ConnState) { states <- s },
		Handler:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Context().Value(key{})) }),
	})
	if _, body := dial(t, s).get(t, "/"); body != "base" {
		t.Errorf("the base context's value is %q, want base", body)
	}
	if got := <-states; got != http.StateNew {
		t.Errorf("the first state seen is %v, want new", got)
	}
}

func BenchmarkServer(b *testing.B) {
	for _, wrapped := range []bool{false, true} {
		b.Run(fmt.Sprintf("wrapped=%v", wrapped), func(b *testing.B) {
			srv := &http.Server{Handler: http.HandlerFunc(hello)}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			if wrapped {
				s := lifecycle.Server(srv, lifecycle.WithListener(ln))
				if err := s.Start(b.Context()); err != nil {
					b.Fatal(err)
				}
				defer func() { _ = s.Stop(b.Context()) }()
			} else {
				go func() { _ = srv.Serve(ln) }()
				defer srv.Close()
			}
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			r := bufio.NewReader(conn)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
			}
		})
	}
}
