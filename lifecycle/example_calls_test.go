package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/pedro-go/pedro/lifecycle"
)

// Components start in the order of Add, or of After, and stop the other way
// round.
func ExampleAfter() {
	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	part := func(name string) lifecycle.Component {
		return lifecycle.Funcs{
			OnStart: func(context.Context) error { fmt.Println("start", name); return nil },
			OnStop:  func(context.Context) error { fmt.Println("stop", name); return nil },
		}
	}
	g.Add("http", part("http"), lifecycle.After("sessions"))
	g.Add("redis", part("redis"), lifecycle.After())
	g.Add("sessions", part("sessions"), lifecycle.After("redis"))
	ctx := context.Background()
	fmt.Println(g.Start(ctx))
	fmt.Println(g.Stop(ctx))
	// Output:
	// start redis
	// start sessions
	// start http
	// <nil>
	// stop http
	// stop sessions
	// stop redis
	// <nil>
}

// A task that ends by itself ends the group, and its error is that of Run.
func ExampleGroup_Go() {
	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	broken := errors.New("queue is gone")
	g.Go("worker", func(context.Context) error { return broken })
	err = g.Run(context.Background())
	failed, ok := errors.AsType[*lifecycle.ComponentError](err)
	fmt.Println(ok, failed.Name, failed.Phase, errors.Is(err, broken))
	// Output: true worker run true
}

// A server as a component: a taken port is an error of its start.
func ExampleServer() {
	server := lifecycle.Server(&http.Server{
		Addr:    "127.0.0.1:0",
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }),
	})
	ctx := context.Background()
	if err := server.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	resp, err := http.Get("http://" + server.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	fmt.Println(string(body))
	fmt.Println(server.Stop(ctx))
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// hello
	// <nil>
}
