package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [Server].
const (
	DefaultQuiet             = 500 * time.Millisecond
	DefaultReadHeaderTimeout = 10 * time.Second
	DefaultIdleTimeout       = 2 * time.Minute
)

// reserve is the share of a Stop's time that is kept for requests whose context
// was cancelled: a database driver takes a second to give up a statement that
// the server does not end.
const reserve = 5 // one fifth

// HTTPServer is an http.Server as a [Component]. Make one with [Server]. Its
// methods are safe for concurrent use.
type HTTPServer struct {
	server   *http.Server
	quiet    time.Duration
	ledger   ledger
	draining atomic.Bool   // every response says Connection: close
	farewell chan struct{} // closed when streams shall end; see Draining
	failed   chan error

	mu             sync.Mutex
	listener       net.Listener
	served         chan struct{}      // closed when Serve has returned; nil before Start
	stopped        bool               // Stop was called
	cancelRequests context.CancelFunc // set by Serve, called when the time for answers is up
}

// A ServerOption is a setting of [Server].
type ServerOption func(*HTTPServer)

// WithListener makes the server use ln, which it then owns, instead of making
// one from its address: one from systemd, or from a test. nil keeps the
// default.
func WithListener(ln net.Listener) ServerOption {
	return func(s *HTTPServer) { s.listener = ln }
}

// WithQuiet sets for how long no request must have come, and none be at work,
// before the idle connections of a stopping server are closed. A client that
// keeps a connection and sends its next request within this time loses nothing.
// Zero keeps the default of 500 milliseconds; negative closes them as soon as
// nothing is at work.
func WithQuiet(d time.Duration) ServerOption {
	return func(s *HTTPServer) { s.quiet = cmp.Or(d, s.quiet) }
}

// Server makes srv a [Component] that listens and serves between Start and
// Stop, and that loses no request in between. It takes srv over: its Handler,
// ConnState and BaseContext are wrapped, and a zero ReadHeaderTimeout or
// IdleTimeout is set to 10 seconds or 2 minutes, because without them idle
// clients hold connections for ever.
//
// Start listens on srv.Addr, which may be "unix:" and a path, and returns when
// connections are accepted, so that a taken port is an error of Start. It
// serves TLS if srv.TLSConfig has certificates; HTTP/2 as srv says.
//
// Drain, called by the group at the beginning of the drain delay, makes every
// response from then on ask for the connection to be closed, so that clients
// move on between two requests. It does not close idle connections, on which a
// request may be under way.
//
// Stop closes the listener only, and tells streams to end; see [Draining]. It
// goes on answering on the connections that there are until all are gone, or
// nothing is at work and nothing came for a while ([WithQuiet]). Then it closes
// what is left, never-used connections included: [http.Server.Shutdown] would
// wait five seconds for each of those, and leave requests that arrive meanwhile
// without an answer. What is still at work when four fifths of the time are
// over gets its context cancelled, and at the end is cut off; Stop then returns
// an error that wraps [ErrRequestsCut].
func Server(srv *http.Server, opts ...ServerOption) *HTTPServer {
	s := &HTTPServer{
		server:   srv,
		quiet:    DefaultQuiet,
		farewell: make(chan struct{}),
		failed:   make(chan error, 1),

		cancelRequests: func() {}, // Serve may fail before it asks for a context
	}
	s.ledger.init()
	for _, opt := range opts {
		if opt != nil {
			opt(s)
		}
	}
	s.wrap()
	return s
}

// wrap hooks into the server.
func (s *HTTPServer) wrap() {
	s.server.ReadHeaderTimeout = cmp.Or(s.server.ReadHeaderTimeout, s.server.ReadTimeout, DefaultReadHeaderTimeout)
	s.server.IdleTimeout = cmp.Or(s.server.IdleTimeout, DefaultIdleTimeout)

	handler := s.server.Handler
	if handler == nil {
		handler = http.DefaultServeMux
	}
	s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			// HTTP/2 turns this into a GOAWAY.
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	})

	base := s.server.BaseContext
	s.server.BaseContext = func(ln net.Listener) context.Context {
		ctx := context.Background()
		if base != nil {
			ctx = base(ln)
		}
		ctx, s.cancelRequests = context.WithCancel(context.WithValue(ctx, farewellKey{}, s.farewell))
		return ctx
	}

	state := s.server.ConnState
	s.server.ConnState = func(c net.Conn, to http.ConnState) {
		s.ledger.record(c, to)
		if state != nil {
			state(c, to)
		}
	}
}

type farewellKey struct{}

// Draining returns a channel that is closed when the server of the request with
// this context has stopped accepting connections and waits for the ones it has.
// Handlers of server-sent events, long polls and hijacked connections select on
// it, say good-bye and return; see the example. For other contexts it returns
// nil, a channel that never delivers.
func Draining(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(farewellKey{}).(chan struct{})
	return c
}

// Addr returns the address that the server listens on, nil before Start.
func (s *HTTPServer) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Conns returns how many connections there are. It is cheap.
func (s *HTTPServer) Conns() Conns { return s.ledger.count() }

// Failed implements [Failer].
func (s *HTTPServer) Failed() <-chan error { return s.failed }

// Start implements [Component].
func (s *HTTPServer) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return fmt.Errorf("lifecycle: listen: %w", http.ErrServerClosed)
	}
	if s.listener == nil {
		ln, err := listen(ctx, cmp.Or(s.server.Addr, ":http"))
		if err != nil {
			return fmt.Errorf("lifecycle: %w", err)
		}
		s.listener = ln
	}
	ln := &trackingListener{Listener: s.listener, ledger: &s.ledger}
	served := make(chan struct{})
	s.served = served
	go func() {
		defer close(served)
		if err := s.serve(ln); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.failed <- fmt.Errorf("lifecycle: serve: %w", err)
		}
	}()
	return nil
}

func (s *HTTPServer) serve(ln net.Listener) error {
	if tls := s.server.TLSConfig; tls != nil && (len(tls.Certificates) > 0 || tls.GetCertificate != nil || tls.GetConfigForClient != nil) {
		return s.server.ServeTLS(ln, "", "")
	}
	return s.server.Serve(ln)
}

// Drain implements [Drainer].
func (s *HTTPServer) Drain() { s.draining.Store(true) }

// Stop implements [Component].
func (s *HTTPServer) Stop(ctx context.Context) error {
	if !s.closeListener() {
		return nil
	}
	close(s.farewell)

	patient, cancel := context.WithCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		patient, cancel = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/reserve))
	}
	defer cancel()
	s.ledger.waitQuiet(patient, s.quiet)
	s.ledger.closeNew()
	err := s.server.Shutdown(patient) // closes the idle ones, and lets a request that has just come finish
	if patient.Err() != nil {
		s.cancelRequests() // a second chance for those who did not heed the farewell
		s.ledger.closeNew()
		err = s.server.Shutdown(ctx)
		s.ledger.waitHijacked(ctx)
	}
	cut := s.ledger.count()
	_ = s.server.Close()
	s.ledger.closeAll()
	s.cancelRequests()
	if cut.Active+cut.Hijacked > 0 {
		return fmt.Errorf("lifecycle: %w: %d at work, %d hijacked: %w", ErrRequestsCut, cut.Active, cut.Hijacked, context.Cause(ctx))
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("lifecycle: shutdown: %w", err)
	}
	return nil
}

// closeListener ends the accepting of connections, which live on. It reports
// whether there is something to stop: Start was called, and Stop for the first
// time.
func (s *HTTPServer) closeListener() bool {
	s.Drain()
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.stopped
	s.stopped = true
	if first && s.listener != nil {
		_ = s.listener.Close()
	}
	if s.served == nil {
		return false
	}
	<-s.served // Serve returns at once, since its listener is closed
	return first
}
