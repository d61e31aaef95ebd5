package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

// The whole of it: a pool, a background task and a server, in order.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)
	running := make(chan struct{})
	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithSignals(), lifecycle.WithLogger(quiet),
		lifecycle.OnState(func(s lifecycle.State) {
			if s == lifecycle.StateRunning {
				close(running)
			}
		}),
		lifecycle.WithDrain(10*time.Millisecond, func() { fmt.Println("not ready any more") }))
	if err != nil {
		fmt.Println(err)
		return
	}
	g.Add("pool", lifecycle.Funcs{
		OnStart: func(context.Context) error { fmt.Println("pool up"); return nil },
		OnStop:  func(context.Context) error { fmt.Println("pool down"); return nil },
	})
	server := lifecycle.Server(&http.Server{Addr: "127.0.0.1:0", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	})})
	g.Add("http", server)
	g.Go("worker", func(ctx context.Context) error {
		resp, err := http.Get("http://" + server.Addr().String())
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		fmt.Printf("worker got %s\n", body)
		<-running // the others have started as well
		cancel()  // the end of the example, as SIGTERM would be
		<-ctx.Done()
		return err
	})
	fmt.Println("run:", g.Run(ctx))
	// Output:
	// pool up
	// worker got hello
	// not ready any more
	// pool down
	// run: <nil>
}

// A Stop that ignores its context does not keep the others from stopping, and
// its error says who it is.
func Example_hangingStop() {
	g, err := lifecycle.New(lifecycle.Config{StopTimeout: 10 * time.Millisecond}, lifecycle.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	release := make(chan struct{})
	defer close(release)
	g.Add("pool", lifecycle.Funcs{OnStop: func(context.Context) error { fmt.Println("pool down"); return nil }})
	g.Add("cache", lifecycle.Funcs{OnStop: func(context.Context) error { <-release; return nil }})
	ctx := context.Background()
	err = errors.Join(g.Start(ctx), g.Stop(ctx))
	if failed, ok := errors.AsType[*lifecycle.ComponentError](err); ok {
		_, hung := errors.AsType[*lifecycle.HungError](err)
		fmt.Println(failed.Name, failed.Phase, "hung:", hung)
	}
	// Output:
	// pool down
	// cache stop hung: true
}

// Server-sent events end with a good-bye when the server drains, so that the
// client connects to another instance instead of seeing a broken stream.
func ExampleDraining() {
	events := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: hello\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-lifecycle.Draining(r.Context()):
			_, _ = io.WriteString(w, "event: bye\n\n")
		case <-r.Context().Done():
		}
	}
	ctx := context.Background()
	server := lifecycle.Server(&http.Server{Addr: "127.0.0.1:0", Handler: http.HandlerFunc(events)})
	if err := server.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	resp, err := http.Get("http://" + server.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	stopped := make(chan error)
	go func() { stopped <- server.Stop(ctx) }()
	stream, _ := io.ReadAll(resp.Body)
	fmt.Printf("%sstop: %v\n", stream, <-stopped)
	// Output:
	// data: hello
	//
	// event: bye
	//
	// stop: <nil>
}
