package lifecycle_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

// childRole is the variable that makes the test binary play a part in a test
// with several processes, instead of running tests.
const childRole = "LIFECYCLE_TEST_ROLE"

// child is another process of this test binary.
type child struct {
	cmd  *exec.Cmd
	addr string         // where it listens
	out  *io.PipeReader // what it prints after its address
	done chan error     // its exit
}

// startChild starts a child in a role and waits for the address that it prints
// first.
func startChild(t *testing.T, role string, files ...*os.File) *child {
	t.Helper()
	out, w := io.Pipe()
	c := &child{cmd: exec.Command(os.Args[0]), out: out, done: make(chan error, 1)}
	c.cmd.Env = append(os.Environ(), childRole+"="+role)
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.ExtraFiles = w, os.Stderr, files
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		err := c.cmd.Wait()
		_ = w.CloseWithError(io.EOF)
		c.done <- err
	}()
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the child in the role %s ended before it listened: %v", role, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	c.addr = strings.TrimSpace(line)
	return c
}

func (c *child) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// wait returns the child's exit code.
func (c *child) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-c.done:
		return c.cmd.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		t.Fatal("the child did not exit within 30s")
		return -1
	}
}

func runChild(role string) int {
	logger := slog.New(slog.DiscardHandler)
	ctx := context.Background()
	var err error
	switch role {
	case "group":
		err = runGroup(ctx, logger, "")
	case "activated":
		var list []net.Listener
		// exec.Cmd knows no process id before the start, which systemd sets.
		os.Setenv("LISTEN_FDS", "1")
		os.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
		if list, err = lifecycle.SystemdListeners(); err == nil {
			err = runGroup(ctx, logger, "", lifecycle.WithListener(list[0]))
		}
	case "hangs":
		err = runGroup(ctx, logger, "hangs")
		if errors.Is(err, lifecycle.ErrForced) {
			return 130 // as a shell reports a program that was interrupted
		}
	case "shutdown":
		err = runShutdown(ctx)
	default:
		err = fmt.Errorf("unknown role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// drainDelay of the children: far more than the 400 ms that the balancers of
// the tests take to notice, since on a busy machine they take longer, and a
// delay that is too short loses requests whatever the server does.
const drainDelay = 3 * time.Second

// runGroup is a service on this package.
func runGroup(ctx context.Context, l *slog.Logger, hang string, opts ...lifecycle.ServerOption) error {
	var ready atomic.Bool
	g, err := lifecycle.New(lifecycle.Config{StopBudget: 10 * time.Second}, lifecycle.WithLogger(l), lifecycle.WithSignals(),
		lifecycle.WithDrain(drainDelay, func() { ready.Store(false) }))
	if err != nil {
		return err
	}
	if hang != "" {
		g.Add(hang, lifecycle.Funcs{OnStop: func(context.Context) error { select {} }})
	}
	s := lifecycle.Server(&http.Server{Addr: "127.0.0.1:0", Handler: service(&ready, lifecycle.Draining)}, opts...)
	g.Add("http", s)
	g.Add("ready", lifecycle.Funcs{OnStart: func(context.Context) error {
		ready.Store(true)
		fmt.Println(s.Addr())
		return nil
	}})
	return g.Run(ctx)
}

// runShutdown is the same service as the documentation of net/http has it.
func runShutdown(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	var ready atomic.Bool
	ready.Store(true)
	srv := &http.Server{Handler: service(&ready, func(context.Context) <-chan struct{} { return nil })}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	go func() { _ = srv.Serve(ln) }()
	<-ctx.Done()
	timeout, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	_ = srv.Shutdown(timeout) // streams and never-used connections use the time up
	return srv.Close()
}

// service is what the clients of the rolling restart talk to.
func service(ready *atomic.Bool, draining func(context.Context) <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/fast", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(100 * time.Millisecond)
		_, _ = io.WriteString(w, "ok")
	})
	mux.HandleFunc("/poll", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-draining(r.Context()):
		case <-time.After(1500 * time.Millisecond):
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "ok")
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-draining(r.Context()):
				_, _ = io.WriteString(w, "event: bye\n\n")
				return
			case <-r.Context().Done():
				return
			case <-tick.C:
				_, _ = io.WriteString(w, "data: tick\n\n")
				_ = http.NewResponseController(w).Flush()
			}
		}
	})
	return mux
}
