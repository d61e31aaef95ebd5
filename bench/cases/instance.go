package cases

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
)

const (
	// drainDelay is how long an instance serves on after it has said that it is
	// not ready: a few probes of the balancer.
	drainDelay = 300 * time.Millisecond
	// stopLimit is what http.Server.Shutdown is given.
	stopLimit = 10 * time.Second
)

// instances are the ways to end a server at SIGTERM.
var instances = map[string]func(context.Context, http.Handler) error{
	"shutdown":         func(ctx context.Context, h http.Handler) error { return serveByHand(ctx, h, 0) },
	"shutdown-delayed": func(ctx context.Context, h http.Handler) error { return serveByHand(ctx, h, drainDelay) },
	"pedro":            serveWithLifecycle,
}

// instanceRole serves until SIGTERM, and dies with its parent.
func instanceRole() error {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	work := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		time.Sleep(2 * time.Millisecond) // of a database, say
		_, _ = w.Write(b)
	})
	return instances[os.Getenv("BENCH_INSTANCE")](context.Background(), work)
}

// serveByHand is the usual: Shutdown at the signal, or when the balancer has had
// the time to notice.
func serveByHand(ctx context.Context, work http.Handler, delay time.Duration) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	var draining atomic.Bool
	mux := http.NewServeMux()
	mux.Handle("/work", work)
	mux.HandleFunc("/health/ready", func(w http.ResponseWriter, _ *http.Request) {
		if draining.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: stopLimit}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	fmt.Println(l.Addr())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	draining.Store(true)
	time.Sleep(delay)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	return server.Shutdown(ctx)
}

func serveWithLifecycle(ctx context.Context, work http.Handler) error {
	checks, err1 := health.New(health.Config{}, health.WithLogger(quiet))
	g, err2 := lifecycle.New(lifecycle.Config{}, lifecycle.WithLogger(quiet), lifecycle.WithSignals(), lifecycle.WithDrain(drainDelay, checks.SetDraining))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/work", work)
	mux.Handle("/health/", http.StripPrefix("/health", health.Handler(checks)))
	server := lifecycle.Server(&http.Server{Addr: "127.0.0.1:0", Handler: mux})
	g.Add("health", checks)
	g.Add("http", server)
	g.Add("address", lifecycle.Funcs{OnStart: func(context.Context) error {
		_, err := fmt.Println(server.Addr())
		return err
	}})
	return g.Run(ctx)
}
