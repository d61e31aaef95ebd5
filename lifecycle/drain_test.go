package lifecycle_test

import (
	"context"
	"errors"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

// TestDrainDelayCountsOnce: what of the delay is over when Stop is called is not
// waited for again, and the group says that it drains until the end of it.
func TestDrainDelayCountsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, lifecycle.Config{}, lifecycle.WithDrain(5*time.Second, nil))
		stateAtStop := lifecycle.StateNew
		g.Add("a", lifecycle.Funcs{OnStop: func(context.Context) error { stateAtStop = g.State(); return nil }})
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.Drain()
		time.Sleep(3 * time.Second)
		began := time.Now()
		time.AfterFunc(time.Second, func() {
			if got := g.State(); got != lifecycle.StateDraining {
				t.Errorf("a second later: %v, want draining", got)
			}
		})
		if err := g.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Stop took %v, want the two seconds that were left of the delay", took)
		}
		if stateAtStop != lifecycle.StateStopping {
			t.Errorf("state while a component stops: %v, want stopping", stateAtStop)
		}
	})
}

// TestSecondSignalDuringDrainHook: the second signal counts also if it comes
// before there is a stop that it could force.
func TestSecondSignalDuringDrainHook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g, signals := signalled(t, lifecycle.Config{}, lifecycle.WithDrain(10*time.Second, func() { time.Sleep(2 * time.Second) }))
		g.Add("pool", j.component("pool"))
		done := run(t.Context(), g)
		synctest.Wait()
		began := time.Now()
		signals <- syscall.SIGTERM
		time.Sleep(time.Second)
		signals <- syscall.SIGTERM
		if err := <-done; !errors.Is(err, lifecycle.ErrForced) {
			t.Errorf("Run = %v, want ErrForced", err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Run took %v, want the hook's 2s and no delay after it", took)
		}
		if got, want := j.String(), "+pool -pool"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestNothingCutIsNoError: a stop without any time closes what nobody uses, and
// has nothing to report.
func TestNothingCutIsNoError(t *testing.T) {
	t.Parallel()
	s := startServer(t, &http.Server{Handler: http.HandlerFunc(hello)})
	idle, fresh := dial(t, s), dial(t, s)
	idle.get(t, "/")
	eventually(t, "both connections to be known", func() bool { return s.Conns() == lifecycle.Conns{New: 1, Idle: 1} })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("Stop = %v, want nil: no request was cut", err)
	}
	for name, conn := range map[string]*rawConn{"idle": idle, "never used": fresh} {
		if _, err := conn.r.ReadByte(); err == nil {
			t.Errorf("the %s connection is open", name)
		}
	}
}
