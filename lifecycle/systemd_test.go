package lifecycle_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

// TestSystemd plays systemd: a datagram socket that reads what the group says.
func TestSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	heard := make(chan string, 1000)
	go func() {
		defer close(heard)
		buf := make([]byte, 4096)
		for {
			n, err := socket.Read(buf)
			if err != nil {
				return
			}
			heard <- string(buf[:n])
		}
	}()
	expect := func(want string) {
		t.Helper()
		for {
			select {
			case got := <-heard:
				if strings.Contains(got, want) {
					return
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("waited 10s in vain for %q", want)
			}
		}
	}
	var alive atomic.Bool
	alive.Store(true)
	signals := make(chan os.Signal)
	g := newGroup(t, lifecycle.Config{}, lifecycle.WithSystemd(alive.Load), lifecycle.WithSignalSource(signals),
		lifecycle.OnReload(func(context.Context) error { return nil }))
	g.Add("a", lifecycle.Funcs{})
	done := run(t.Context(), g)
	expect("EXTEND_TIMEOUT_USEC=31000000")
	expect("READY=1")
	expect("WATCHDOG=1")
	expect("WATCHDOG=1")
	signals <- syscall.SIGHUP
	expect("RELOADING=1\nMONOTONIC_USEC=")
	expect("READY=1")
	signals <- syscall.SIGTERM
	expect("STOPPING=1")
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestWatchdogIsSilentWhenNotAlive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "2000")
	var asked atomic.Int64
	g := newGroup(t, lifecycle.Config{}, lifecycle.WithSystemd(func() bool { asked.Add(1); return false }))
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the watchdog to ask", func() bool { return asked.Load() > 3 })
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = socket.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	buf := make([]byte, 4096)
	for {
		n, err := socket.Read(buf)
		if err != nil {
			return
		}
		if strings.Contains(string(buf[:n]), "WATCHDOG") {
			t.Fatal("the watchdog was fed although the process says that it is not alive")
		}
	}
}

func TestSystemdListenersWithoutSystemd(t *testing.T) {
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_PID", "1")                                                // somebody else's
	if _, err := lifecycle.SystemdListeners(); err != lifecycle.ErrNoSockets { //nolint:errorlint // returned as it is
		t.Errorf("got %v, want ErrNoSockets", err)
	}
}

func TestKubernetesTimes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg   lifecycle.Config
		delay time.Duration
		k     lifecycle.Kubernetes
		want  []string
	}{
		"defaults": {lifecycle.Config{}, 5 * time.Second, lifecycle.Kubernetes{}, []string{"needed=32s"}},
		"fits":     {lifecycle.Config{}, 5 * time.Second, lifecycle.Kubernetes{ProbePeriod: time.Second, FailureThreshold: 2}, nil},
		"pre-stop": {
			lifecycle.Config{},
			0,
			lifecycle.Kubernetes{ProbePeriod: time.Second, FailureThreshold: 2, PreStop: 5 * time.Second},
			[]string{"grace_period=30s"},
		},
		"no budget": {
			lifecycle.Config{StopBudget: -1},
			0,
			lifecycle.Kubernetes{ProbePeriod: time.Second, FailureThreshold: 1, Propagation: time.Second},
			[]string{"needed=2s", "stop_budget=-1ns"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			l := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelWarn}))
			g := newGroup(t, test.cfg, lifecycle.WithLogger(l), lifecycle.WithDrain(test.delay, nil), lifecycle.WithKubernetes(test.k))
			if err := g.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = g.Stop(ctx)
			if got := strings.Count(b.String(), "\n"); got != len(test.want) {
				t.Errorf("%d warnings, want %d:\n%s", got, len(test.want), b.String())
			}
			for _, want := range test.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("got\n%s\nwant it to contain %q", b.String(), want)
				}
			}
		})
	}
}
