package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

// A start that is tried again, within a limit.
func ExampleRetry() {
	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	attempts := 0
	g.Add("postgres", lifecycle.Funcs{OnStart: func(context.Context) error {
		if attempts++; attempts < 3 {
			return errors.New("starting up")
		}
		return nil
	}}, lifecycle.Retry(time.Millisecond, 10*time.Millisecond), lifecycle.StartTimeout(time.Minute), lifecycle.StopTimeout(5*time.Second))
	ctx := context.Background()
	fmt.Println(g.Start(ctx))
	r := g.Report()[0]
	fmt.Println(r.Name, r.State, r.Attempts, g.Config().StopBudget)
	fmt.Println(g.Stop(ctx))
	// Output:
	// <nil>
	// postgres running 3 25s
	// <nil>
}

// A component that the service can do without joins late.
func ExampleOptional() {
	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	there, joined := make(chan struct{}), make(chan struct{})
	g.Add("search", lifecycle.Funcs{OnStart: func(context.Context) error {
		select {
		case <-there:
			close(joined)
			return nil
		default:
			return errors.New("not there yet")
		}
	}}, lifecycle.Optional(), lifecycle.Retry(time.Millisecond, time.Millisecond))
	ctx := context.Background()
	fmt.Println(g.Start(ctx)) // without it
	close(there)
	<-joined
	fmt.Println("joined", g.Stop(ctx))
	// Output:
	// <nil>
	// joined <nil>
}

// Signals, reload hooks, states and events; what listens to them is yours.
func ExampleNew() {
	signals := make(chan os.Signal, 2) // WithSignals takes those of the process
	g, err := lifecycle.New(lifecycle.Config{StopBudget: 20 * time.Second},
		lifecycle.WithLogger(slog.New(slog.DiscardHandler)),
		lifecycle.WithSignalSource(signals),
		lifecycle.WithKubernetes(lifecycle.Kubernetes{GracePeriod: 30 * time.Second}), // warns of times that do not fit
		lifecycle.WithSystemd(nil),                                                    // speaks to systemd, if it started us
		lifecycle.OnReload(func(context.Context) error {
			fmt.Println("reload")
			signals <- syscall.SIGTERM
			return nil
		}),
		lifecycle.OnState(func(s lifecycle.State) { // health's SetPhase
			fmt.Println("state:", s)
			if s == lifecycle.StateRunning {
				signals <- syscall.SIGHUP // from an operator, say; before that there is nothing to reload
			}
		}),
		lifecycle.WithObserver(func(e lifecycle.Event) { fmt.Println("event:", e.Component, e.Phase, e.Err) }))
	if err != nil {
		fmt.Println(err)
		return
	}
	g.Add("pool", lifecycle.Funcs{})
	fmt.Println(g.Run(context.Background()), g.State())
	// Output:
	// state: starting
	// event: pool start <nil>
	// state: running
	// reload
	// state: draining
	// state: stopping
	// event: pool stop <nil>
	// state: stopped
	// <nil> stopped
}

// A group is a component too. What fails inside reaches the outside.
func ExampleGroup_Failed() {
	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	g.Go("consumer", func(context.Context) error { return errors.New("queue is gone") })
	ctx := context.Background()
	fmt.Println(g.Start(ctx))
	fmt.Println(<-g.Failed()) // a group around it would begin to stop
	g.Drain()
	fmt.Println(g.State() == lifecycle.StateDraining)
	_ = g.Stop(ctx)
	// Output:
	// <nil>
	// lifecycle: run consumer: queue is gone
	// true
}

// A listener of one's own: from systemd if it has one, else made here.
func ExampleWithListener() {
	listeners, err := lifecycle.SystemdListeners()
	fmt.Println(len(listeners), errors.Is(err, lifecycle.ErrNoSockets))
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := lifecycle.Server(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })},
		lifecycle.WithListener(ln), lifecycle.WithQuiet(-1)) // no client of ours sends late requests
	ctx := context.Background()
	fmt.Println(server.Start(ctx))
	server.Drain() // the group does: from now on answers close their connections
	resp, err := http.Get("http://" + server.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	fmt.Println(string(body), resp.Close)
	fmt.Println(server.Stop(ctx), server.Conns())
	select {
	case err := <-server.Failed():
		fmt.Println(err)
	default: // it ended as it was told to
	}
	// Output:
	// 0 true
	// <nil>
	// hello true
	// <nil> {0 0 0 0}
}
