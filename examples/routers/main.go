// Command routers is one small service on six routers: sessions, health and a
// graceful stop in each, in one file a router. TestConformance runs the same
// requests against all of them.
//
//	go run ./cmd/devservices redis -- sh -c 'cd examples/routers && go run . -router chi'
//
// Whatever the router, three lines do the work, and none of them is the
// router's: session.Middleware around the whole handler, health.Handler at a
// path with everything below it, and lifecycle.Server around the http.Server.
// Only fiber, which is not on net/http, needs more; see fiber.go.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

// routers are the routers by the value of -router.
var routers = map[string]func(a *app, addr string) server{
	"nethttp": onNetHTTP(netHTTP),
	"chi":     onNetHTTP(chiRouter),
	"gorilla": onNetHTTP(gorillaMux),
	"gin":     onNetHTTP(ginEngine),
	"echo":    onNetHTTP(echoRouter),
	"fiber":   func(a *app, addr string) server { return newFiberServer(a, addr) },
}

// server is a *lifecycle.HTTPServer, or fiber's.
type server interface {
	lifecycle.Drainer
	Addr() net.Addr
}

// app is the service, as far as it does not depend on the router.
type app struct {
	sessions *session.Manager
	checks   *health.Checker
	report   func(ctx context.Context) string // takes a while
}

func main() {
	router := flag.String("router", "nethttp", "nethttp, chi, gorilla, gin, echo or fiber")
	flag.Parse()
	if err := run(context.Background(), *router); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, router string) error {
	newServer, ok := routers[router]
	if !ok {
		return fmt.Errorf("there is no router %q", router)
	}
	rdCfg, err1 := rediscache.ConfigFromEnv()
	snCfg, err2 := session.ConfigFromEnv()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	cache, err := rediscache.New(rdCfg)
	if err != nil {
		return err
	}
	sessions, err1 := session.New(cache.Redis(), snCfg)
	checks, err2 := health.New(health.Config{})
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	checks.Add("redis", cache.Ping, health.Optional())
	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithSignals(), lifecycle.WithDrain(time.Second, checks.SetDraining))
	if err != nil {
		return err
	}
	a := &app{sessions: sessions, checks: checks, report: slowReport}
	g.Add("redis", cache)
	g.Add("sessions", sessions)
	g.Add("health", checks)
	g.Add("http", newServer(a, cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080")))
	return g.Run(ctx)
}

// onNetHTTP is the same for every router that is an http.Handler. The session
// is outermost, so that what the router itself answers goes through it as well.
func onNetHTTP(handler func(a *app) http.Handler) func(a *app, addr string) server {
	return func(a *app, addr string) server {
		return lifecycle.Server(&http.Server{Addr: addr, Handler: session.Middleware(a.sessions)(handler(a))})
	}
}

// visits counts in the session.
func visits(ctx context.Context) (int, error) {
	s := session.From(ctx)
	err := session.Update(s, "visits", func(n int) int { return n + 1 })
	n, _ := session.Get[int](s, "visits")
	return n, err
}

// setLate changes the session when the response is on its way, and says what
// came of it: a session that the client knows is saved, a new one cannot be.
func setLate(ctx context.Context, w io.Writer) {
	if err := session.Set(session.From(ctx), "late", true); err != nil {
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "set")
}

// wasLate reports what setLate left in the session.
func wasLate(ctx context.Context) string {
	late, _ := session.Get[bool](session.From(ctx), "late")
	return fmt.Sprint(late)
}

// events sends one event at once, and says good-bye when the server stops.
func events(ctx context.Context, draining <-chan struct{}, w io.Writer, flush func() error) {
	fmt.Fprint(w, "data: hello\n\n")
	if flush() != nil {
		return
	}
	select {
	case <-ctx.Done(): // the client went
	case <-draining:
		fmt.Fprint(w, "data: good-bye\n\n")
		_ = flush()
	}
}

func slowReport(ctx context.Context) string {
	select {
	case <-ctx.Done():
	case <-time.After(3 * time.Second):
	}
	return "done"
}
