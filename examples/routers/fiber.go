package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/session"
)

// fiberServer is gofiber/fiber v3 as a component. Fiber is on fasthttp and not
// on net/http, so some things are different; what follows is tested.
//
//   - Fiber's adaptor.HTTPMiddleware(session.Middleware(m)) does not work: the
//     adaptor lets a middleware end before the handlers run, so that nothing
//     they set is saved. fiberSession stands in for it.
//   - Immutable must be set. Without it fiber's strings (c.Params, c.Query …)
//     change when the request is over, and a session that keeps one in memory
//     has its user renamed by somebody else's request: of user-6 the test saw
//     tser-6.
//   - The response leaves after the handler, so "before the first byte" is
//     everywhere in a handler. A stream writer runs beside it, in a goroutine
//     of its own: fiberStream lets it begin when the session's headers are set.
//     What it changes needs a Save of its own.
//   - c.Context() does not end when the client goes. Work that should needs a
//     limit of its own.
//   - lifecycle.Server is for net/http. fasthttp's shutdown lets requests at
//     work finish, and closes idle connections at once: a request that is under
//     way to one of them is lost, which the drain delay makes unlikely and
//     lifecycle.Server impossible. lifecycle.Draining delivers nothing;
//     RequestCtx.Done tells streams instead.
type fiberServer struct {
	app      *fiber.App
	addr     string
	draining atomic.Bool
	listener net.Listener
	failed   chan error
}

func newFiberServer(a *app, addr string) *fiberServer {
	s := &fiberServer{addr: addr, failed: make(chan error, 1)}
	s.app = fiber.New(fiber.Config{Immutable: true})
	s.app.Use(func(c fiber.Ctx) error {
		if s.draining.Load() {
			c.RequestCtx().SetConnectionClose()
		}
		return c.Next()
	})
	s.app.Use(fiberSession(a.sessions))
	s.app.Use("/api/health", adaptor.HTTPHandler(health.Handler(a.checks)))
	s.app.Post("/login/:user", func(c fiber.Ctx) error {
		if err := session.SetAuthenticated(c.Context(), c.Params("user"), map[string]any{"role": "nurse"}); err != nil {
			return fiber.NewError(fiber.StatusServiceUnavailable, "cannot log in at the moment")
		}
		return c.SendStatus(fiber.StatusNoContent)
	})
	s.app.Post("/logout", func(c fiber.Ctx) error {
		if err := session.ClearAuthentication(c.Context()); err != nil {
			return fiber.NewError(fiber.StatusServiceUnavailable, "cannot log out at the moment")
		}
		return c.SendStatus(fiber.StatusNoContent)
	})
	s.app.Get("/visits", func(c fiber.Ctx) error {
		n, err := visits(c.Context())
		if err != nil {
			return fiber.NewError(fiber.StatusServiceUnavailable, "cannot count")
		}
		return c.SendString(strconv.Itoa(n))
	})
	s.app.Get("/late", func(c fiber.Ctx) error {
		ctx := c.Context() // c itself is somebody else's when the writer runs
		return fiberStream(c, func(w *bufio.Writer) {
			_, _ = w.WriteString("first byte\n")
			_ = w.Flush()
			setLate(ctx, w)
			_ = session.From(ctx).Save(ctx)
		})
	})
	s.app.Get("/late/value", func(c fiber.Ctx) error { return c.SendString(wasLate(c.Context())) })
	s.app.Get("/events", func(c fiber.Ctx) error {
		ctx, draining := c.Context(), c.RequestCtx().Done()
		c.Set("Content-Type", "text/event-stream")
		return fiberStream(c, func(w *bufio.Writer) { events(ctx, draining, w, w.Flush) })
	})
	s.app.Get("/report", func(c fiber.Ctx) error { return c.SendString(a.report(c.Context())) })
	s.app.Get("/account", fiberMiddleware(session.RequireAuthenticated), func(c fiber.Ctx) error {
		return c.SendString(session.From(c.Context()).UserID())
	})
	return s
}

// fiberSession gives each request of fiber its session, which handlers find in
// c.Context().
func fiberSession(m *session.Manager) fiber.Handler {
	sessions := fiberMiddleware(session.Middleware(m))
	return func(c fiber.Ctx) error {
		decided := make(chan struct{})
		defer close(decided)
		c.SetContext(context.WithValue(c.Context(), headersDecided{}, decided))
		return sessions(c)
	}
}

// headersDecided is the context's key of a channel that fiberSession closes when
// the response's headers say all that they will about the session.
type headersDecided struct{}

// fiberStream is c.SendStreamWriter for handlers below fiberSession: write begins
// when the headers are decided, so that what it sets is after them every time,
// and not when the scheduler happens to run it late.
func fiberStream(c fiber.Ctx, write func(w *bufio.Writer)) error {
	decided := c.Context().Value(headersDecided{}).(chan struct{})
	return c.SendStreamWriter(func(w *bufio.Writer) {
		<-decided
		write(w)
	})
}

// fiberMiddleware makes fiber's of a middleware of net/http that needs to see
// the request, the response's headers and the end of the handler, but not its
// body.
func fiberMiddleware(m func(http.Handler) http.Handler) fiber.Handler {
	return func(c fiber.Ctx) error {
		r, err := http.NewRequestWithContext(c.Context(), string(c.Request().Header.Method()), string(c.Request().URI().FullURI()), http.NoBody)
		if err != nil {
			return fiber.ErrBadRequest
		}
		for name, value := range c.Request().Header.All() {
			r.Header.Add(string(name), string(value)) // copies: fasthttp uses its own again
		}
		r.RemoteAddr, r.TLS = c.RequestCtx().RemoteAddr().String(), c.RequestCtx().TLSConnectionState()
		w := &answer{header: http.Header{}}
		m(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			c.SetContext(r.Context())
			err = c.Next()
		})).ServeHTTP(w, r)
		if w.status != 0 { // it refused the request, or what the handler answered
			c.Response().Reset()
			c.Status(w.status).Response().SetBody(w.body)
			err = nil
		}
		for name, values := range w.header {
			for _, value := range values {
				c.Response().Header.Add(name, value)
			}
		}
		return err
	}
}

// answer is what a middleware says by itself.
type answer struct {
	header http.Header
	status int
	body   []byte
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.body = append(a.body, p...)
	return len(p), nil
}

// Addr is where the server listens, once it was started.
func (s *fiberServer) Addr() net.Addr { return s.listener.Addr() }

// Start listens.
func (s *fiberServer) Start(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.addr)
	if err != nil {
		return err
	}
	s.listener = ln
	go func() {
		if err := s.app.Listener(ln, fiber.ListenConfig{DisableStartupMessage: true}); err != nil {
			s.failed <- err
		}
	}()
	return nil
}

// Failed tells the group when the server ended by itself.
func (s *fiberServer) Failed() <-chan error { return s.failed }

// Drain has every response from now on end its connection.
func (s *fiberServer) Drain() { s.draining.Store(true) }

// Stop waits for the requests at work.
func (s *fiberServer) Stop(ctx context.Context) error {
	s.Drain()
	if err := s.app.ShutdownWithContext(ctx); err != nil && !errors.Is(err, fiber.ErrNotRunning) {
		return err
	}
	return nil
}
