package lifecycle_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

func untilDone(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func TestRunUntilContextIsDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := newGroup(t, lifecycle.Config{})
		g.Add("a", j.component("a"))
		g.Go("task", untilDone)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if got, want := j.String(), "+a -a"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if err := g.Run(ctx); !errors.Is(err, lifecycle.ErrAlreadyStarted) {
			t.Errorf("the second Run = %v, want ErrAlreadyStarted", err)
		}
	})
}

func TestTaskEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end  error
		want error
	}{"with an error": {errBoom, errBoom}, "with nil": {nil, lifecycle.ErrEnded}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, lifecycle.Config{})
				g.Go("task", func(context.Context) error { time.Sleep(time.Second); return test.end })
				err := g.Run(t.Context())
				if !errors.Is(componentError(t, err, "task", lifecycle.PhaseRun), test.want) || len(flatten(err)) != 1 {
					t.Errorf("Run = %v, want %v alone", err, test.want)
				}
			})
		})
	}
}

func TestTaskRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		var failures int
		g := newGroup(t, lifecycle.Config{}, lifecycle.WithObserver(func(e lifecycle.Event) {
			if e.Phase == lifecycle.PhaseRun && errors.Is(e.Err, errBoom) {
				failures++
			}
		}))
		g.Go("task", func(ctx context.Context) error {
			runs++
			switch runs {
			case 1:
				return errBoom
			case 2:
				panic(errBoom)
			}
			return untilDone(ctx)
		}, lifecycle.Retry(time.Second, time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if runs != 3 || failures != 2 {
			t.Errorf("%d runs and %d failures seen, want 3 and 2", runs, failures)
		}
	})
}

func TestOptionalTaskEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, lifecycle.Config{})
		g.Go("task", func(context.Context) error { return errBoom }, lifecycle.Optional())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := g.Run(ctx); err != nil || time.Since(began) != time.Minute {
			t.Errorf("Run = %v after %v, want nil after 1m", err, time.Since(began))
		}
		if r := g.Report()[0]; !errors.Is(r.Err, errBoom) {
			t.Errorf("report %+v, want the task's error", r)
		}
	})
}

func TestTaskThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		g := newGroup(t, lifecycle.Config{})
		g.Go("task", func(context.Context) error { hangHere(release); return nil })
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := componentError(t, g.Stop(t.Context()), "task", lifecycle.PhaseStop)
		if hung, ok := errors.AsType[*lifecycle.HungError](err); !ok || !strings.Contains(hung.Stacks, "hangHere") {
			t.Errorf("Stop = %v, want a HungError with the task's stack", err)
		}
	})
}

func TestNestedGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		inner := newGroup(t, lifecycle.Config{}, lifecycle.WithDrain(0, func() { j.add("drain-inner") }))
		inner.Add("b", j.component("b"))
		inner.Go("task", func(context.Context) error { time.Sleep(time.Second); return errBoom })
		outer := newGroup(t, lifecycle.Config{}, lifecycle.WithDrain(time.Second, func() { j.add("drain-outer") }))
		outer.Add("a", j.component("a"))
		outer.Add("inner", inner)
		err := outer.Run(t.Context())
		if !errors.Is(err, errBoom) {
			t.Errorf("Run = %v, want the inner task's error", err)
		}
		if got, want := j.String(), "+a +b drain-outer drain-inner -b -a"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// signalled returns a group with an injected source of signals, and the source.
func signalled(t *testing.T, cfg lifecycle.Config, opts ...lifecycle.Option) (*lifecycle.Group, chan<- os.Signal) {
	t.Helper()
	c := make(chan os.Signal)
	return newGroup(t, cfg, append(opts, lifecycle.WithSignalSource(c))...), c
}

func run(ctx context.Context, g *lifecycle.Group) chan error {
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	return done
}

func TestSignalStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g, signals := signalled(t, lifecycle.Config{})
		g.Add("a", j.component("a"))
		done := run(t.Context(), g)
		synctest.Wait()
		signals <- syscall.SIGTERM
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if got, want := j.String(), "+a -a"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestSecondSignalForces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		var j journal
		g, signals := signalled(t, lifecycle.Config{}, lifecycle.WithDrain(10*time.Second, nil))
		g.Add("pool", j.component("pool"))
		g.Add("hung", lifecycle.Funcs{OnStop: func(context.Context) error { hangHere(release); return nil }})
		done := run(t.Context(), g)
		synctest.Wait()
		signals <- syscall.SIGTERM
		time.Sleep(time.Second)
		began := time.Now()
		signals <- syscall.SIGINT
		err := <-done
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("Run returned %v after the second signal, want the grace of 100ms", took)
		}
		hung, ok := errors.AsType[*lifecycle.HungError](componentError(t, err, "hung", lifecycle.PhaseStop))
		if !errors.Is(err, lifecycle.ErrForced) || !ok || !strings.Contains(hung.Stacks, "hangHere") {
			t.Errorf("Run = %v, want ErrForced, and the stacks of whoever hangs", err)
		}
		if got, want := j.String(), "+pool -pool"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestSignalDuringStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g, signals := signalled(t, lifecycle.Config{})
		g.Add("a", j.component("a"))
		g.Add("slow", lifecycle.Funcs{OnStart: untilDone})
		g.Add("c", j.component("c"))
		done := run(t.Context(), g)
		synctest.Wait()
		signals <- syscall.SIGTERM
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil: it was asked to stop", err)
		}
		if got, want := j.String(), "+a -a"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestSignalDuringHungStart shows that a Start that ignores the signal is not
// waited for, but said.
func TestSignalDuringHungStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		g, signals := signalled(t, lifecycle.Config{})
		g.Add("hung", lifecycle.Funcs{OnStart: func(context.Context) error { hangHere(release); return nil }})
		done := run(t.Context(), g)
		synctest.Wait()
		signals <- syscall.SIGTERM
		err := <-done
		if _, ok := errors.AsType[*lifecycle.HungError](componentError(t, err, "hung", lifecycle.PhaseStart)); !ok {
			t.Errorf("Run = %v, want a HungError", err)
		}
	})
}

func TestReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reloads := 0
		g, signals := signalled(t, lifecycle.Config{},
			lifecycle.OnReload(func(context.Context) error { reloads++; return errBoom }),
			lifecycle.OnReload(func(context.Context) error { panic("p") }),
			lifecycle.OnReload(func(ctx context.Context) error {
				if reloads == 2 {
					return untilDone(ctx) // does not keep the group from stopping
				}
				return nil
			}))
		g.Add("a", lifecycle.Funcs{})
		done := run(t.Context(), g)
		synctest.Wait()
		for range 2 {
			signals <- syscall.SIGHUP
			synctest.Wait()
		}
		signals <- syscall.SIGTERM
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if reloads != 2 {
			t.Errorf("%d reloads, want 2", reloads)
		}
	})
}

// A SIGHUP that comes while the group starts is not lost: what it tells of may
// have come after the settings were read.
// TestReloadOfNothing shows that SIGHUP of a host's own source never stops.
func TestReloadOfNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, signals := signalled(t, lifecycle.Config{})
		g.Go("task", untilDone)
		done := run(t.Context(), g)
		synctest.Wait()
		signals <- syscall.SIGHUP
		synctest.Wait()
		if got := g.State(); got != lifecycle.StateRunning {
			t.Fatalf("after SIGHUP: %v, want running", got)
		}
		signals <- syscall.SIGTERM
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestReloadDuringStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reloads := 0
		g, signals := signalled(t, lifecycle.Config{}, lifecycle.OnReload(func(context.Context) error { reloads++; return nil }))
		started := make(chan struct{})
		g.Add("a", lifecycle.Funcs{OnStart: func(context.Context) error { <-started; return nil }})
		done := run(t.Context(), g)
		signals <- syscall.SIGHUP
		synctest.Wait()
		if reloads != 0 {
			t.Errorf("%d reloads before the group ran", reloads)
		}
		close(started)
		synctest.Wait()
		if reloads != 1 {
			t.Errorf("%d reloads, want the one that was asked for during the start", reloads)
		}
		signals <- syscall.SIGTERM
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestSignalStorm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stops := 0
		g, signals := signalled(t, lifecycle.Config{}, lifecycle.OnReload(func(context.Context) error { return nil }))
		g.Add("a", lifecycle.Funcs{OnStop: func(ctx context.Context) error { stops++; return untilDone(ctx) }})
		done := run(t.Context(), g)
		for i := range 100 {
			sig := [...]os.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT}[i%3]
			select {
			case signals <- sig:
			case err := <-done:
				done <- err
			}
		}
		if err := <-done; !errors.Is(err, lifecycle.ErrForced) || stops > 1 {
			t.Errorf("Run = %v with %d stops, want ErrForced and one stop at most", err, stops)
		}
	})
}
