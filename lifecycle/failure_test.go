package lifecycle_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

// TestFailedStartRollsBack shows that what had started is stopped, in order and
// under a context that lives, and that the failed component gets its Stop too.
func TestFailedStartRollsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := newGroup(t, lifecycle.Config{})
		c := j.component("a")
		g.Add("a", lifecycle.Funcs{OnStart: c.OnStart, OnStop: func(ctx context.Context) error {
			if deadline, ok := ctx.Deadline(); ctx.Err() != nil || !ok || time.Until(deadline) != lifecycle.DefaultStopTimeout {
				t.Errorf("the rollback's context: %v, deadline in %v, want a fresh one", ctx.Err(), time.Until(deadline))
			}
			return errors.Join(c.Stop(ctx), errors.New("stop a"))
		}})
		g.Add("b", lifecycle.Funcs{
			OnStart: func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) },
			OnStop:  j.component("b").OnStop,
		}, lifecycle.StartTimeout(time.Second))
		g.Add("c", j.component("c"))
		err := g.Start(t.Context())
		if got := componentError(t, err, "b", lifecycle.PhaseStart); got.Error() != "start timeout exceeded" {
			t.Errorf("b: %v, want the start timeout", got)
		}
		if got := componentError(t, err, "a", lifecycle.PhaseStop); got.Error() != "stop a" {
			t.Errorf("a: %v, want its stop's error", got)
		}
		if got, want := j.String(), "+a -b -a"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if g.State() != lifecycle.StateStopped {
			t.Errorf("State = %v, want stopped", g.State())
		}
	})
}

// TestFailedStartCancelsTheOthers shows that a failure ends the starts beside
// it, whose cancellation is not reported as a failure.
func TestFailedStartCancelsTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, lifecycle.Config{})
		g.Add("slow", lifecycle.Funcs{OnStart: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}, lifecycle.After())
		g.Add("bad", lifecycle.Funcs{OnStart: func(context.Context) error { time.Sleep(time.Second); return errBoom }}, lifecycle.After())
		began := time.Now()
		err := g.Start(t.Context())
		if len(flatten(err)) != 1 || !errors.Is(componentError(t, err, "bad", lifecycle.PhaseStart), errBoom) {
			t.Errorf("Start = %v, want the failure of bad alone", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("Start took %v, want 1s", took)
		}
	})
}

func TestStartContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, lifecycle.Config{})
		g.Add("slow", lifecycle.Funcs{OnStart: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := g.Start(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Start = %v, want the context's error", err)
		}
		componentError(t, err, "slow", lifecycle.PhaseStart) // it says who was slow
	})
}

// TestHungStart shows that a Start that ignores its context is left behind at
// its limit and named with its goroutines' stacks, and only those.
func TestHungStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		var j journal
		g := newGroup(t, lifecycle.Config{})
		g.Add("ok", j.component("ok"))
		g.Add("hung", lifecycle.Funcs{OnStart: func(context.Context) error { hangHere(release); return nil }},
			lifecycle.StartTimeout(time.Second), lifecycle.Retry(0, 0))
		began := time.Now()
		err := g.Start(t.Context())
		if took := time.Since(began); took != 1100*time.Millisecond {
			t.Errorf("Start took %v, want its limit of 1s and the grace", took)
		}
		hung, ok := errors.AsType[*lifecycle.HungError](componentError(t, err, "hung", lifecycle.PhaseStart))
		if !ok || !strings.Contains(hung.Stacks, "hangHere") {
			t.Errorf("Start = %v with stacks %q, want a HungError with hangHere", err, hung.Stacks)
		}
		if got, want := j.String(), "+ok -ok"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func hangHere(release <-chan struct{}) { <-release }

func anotherHang(release <-chan struct{}) { <-release }

// TestHungStop shows that the others still stop, and that the error carries the
// stacks of the culprit, those that it started included, and no others.
func TestHungStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		var j journal
		g := newGroup(t, lifecycle.Config{})
		g.Add("pool", j.component("pool"))
		g.Add("other", lifecycle.Funcs{OnStart: func(context.Context) error {
			go anotherHang(release)
			return nil
		}})
		g.Add("hung", lifecycle.Funcs{
			OnStart: func(context.Context) error { go hangHere(release); return nil },
			OnStop:  func(context.Context) error { <-release; return nil },
		}, lifecycle.StopTimeout(time.Second))
		g.Add("http", j.component("http"))
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := g.Stop(t.Context())
		took := time.Since(began)
		if took != 1100*time.Millisecond {
			t.Errorf("Stop took %v, want the limit of 1s and the grace", took)
		}
		stopped, returned := stopByHand(release)
		t.Logf("3 of 4 components stopped and the other named, in %v; one after the other by hand, under a context of a second: %d of 4 stopped, back within an hour: %t",
			took, stopped, returned)
		hung, ok := errors.AsType[*lifecycle.HungError](componentError(t, err, "hung", lifecycle.PhaseStop))
		if !ok || len(flatten(err)) != 1 {
			t.Fatalf("Stop = %v, want the HungError alone", err)
		}
		if want := "lifecycle: stop hung: did not return within 1.1s: stop timeout exceeded"; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
		if !strings.Contains(hung.Stacks, "TestHungStop") || !strings.Contains(hung.Stacks, "hangHere") || strings.Contains(hung.Stacks, "anotherHang") {
			t.Errorf("stacks:\n%s\nwant those of hung's Stop and of its goroutine, and no other's", hung.Stacks)
		}
		if got, want := j.String(), "+pool +http -http -pool"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := g.Report()[2].State; got != lifecycle.ComponentAbandoned {
			t.Errorf("state of hung: %v, want abandoned", got)
		}
	})
}

// stopByHand is what hosts write without this package: the stops in a row, and
// a context to bound them. It returns how many had returned after an hour, and
// whether all had.
func stopByHand(release <-chan struct{}) (stopped int, returned bool) {
	ok := func(context.Context) error { return nil }
	hung := func(context.Context) error { <-release; return nil }
	done, one := make(chan struct{}), make(chan struct{}, 4)
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		for _, stop := range []func(context.Context) error{ok, hung, ok, ok} { // http, hung, other, pool
			_ = stop(ctx)
			one <- struct{}{}
		}
	}()
	select {
	case <-done:
		returned = true
	case <-time.After(time.Hour):
	}
	return len(one), returned
}

// TestBudgetIsOver shows that every component still gets its Stop.
func TestBudgetIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := newGroup(t, lifecycle.Config{StopBudget: 2 * time.Second})
		g.Add("pool", lifecycle.Funcs{OnStop: func(ctx context.Context) error {
			j.add("-pool")
			return context.Cause(ctx)
		}})
		g.Add("slow", lifecycle.Funcs{OnStop: func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }})
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := g.Stop(t.Context())
		for _, name := range []string{"slow", "pool"} {
			if got := componentError(t, err, name, lifecycle.PhaseStop); got.Error() != "stop budget exceeded" {
				t.Errorf("%s: %v, want the budget's end", name, got)
			}
		}
		if j.String() != "-pool" {
			t.Error("pool was not stopped")
		}
	})
}

func TestPanics(t *testing.T) {
	t.Parallel()
	boom := func(context.Context) error { panic(errBoom) }
	goexit := func(context.Context) error { runtime.Goexit(); return nil }
	for name, test := range map[string]struct {
		add   func(g *lifecycle.Group)
		phase lifecycle.Phase
		want  string
	}{
		"start": {func(g *lifecycle.Group) { g.Add("x", lifecycle.Funcs{OnStart: boom}, lifecycle.Retry(0, 0)) }, lifecycle.PhaseStart, "panic: boom"},
		"stop":  {func(g *lifecycle.Group) { g.Add("x", lifecycle.Funcs{OnStop: boom}) }, lifecycle.PhaseStop, "panic: boom"},
		"run":   {func(g *lifecycle.Group) { g.Go("x", boom) }, lifecycle.PhaseRun, "panic: boom"},

		"goexit in start": {func(g *lifecycle.Group) { g.Add("x", lifecycle.Funcs{OnStart: goexit}) }, lifecycle.PhaseStart, "runtime.Goexit was called"},
		"goexit in stop":  {func(g *lifecycle.Group) { g.Add("x", lifecycle.Funcs{OnStop: goexit}) }, lifecycle.PhaseStop, "runtime.Goexit was called"},
		"goexit in run":   {func(g *lifecycle.Group) { g.Go("x", goexit) }, lifecycle.PhaseRun, "runtime.Goexit was called"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var j journal
				g := newGroup(t, lifecycle.Config{})
				g.Add("pool", j.component("pool"))
				test.add(g)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := componentError(t, g.Run(ctx), "x", test.phase)
				if err.Error() != test.want {
					t.Errorf("got %v, want %s", err, test.want)
				}
				if panicked, ok := errors.AsType[*lifecycle.PanicError](err); ok && (!errors.Is(err, errBoom) || len(panicked.Stack) == 0) {
					t.Errorf("%v does not wrap the panic's value, or has no stack", err)
				}
				if got, want := j.String(), "+pool -pool"; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		})
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		g := newGroup(t, lifecycle.Config{})
		g.Add("x", lifecycle.Funcs{OnStart: func(context.Context) error {
			if calls++; calls < 4 {
				return errBoom
			}
			return nil
		}}, lifecycle.Retry(time.Second, 2*time.Second))
		began := time.Now()
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 2500*time.Millisecond || took > 5*time.Second || calls != 4 {
			t.Errorf("%d calls in %v, want 4 with pauses of about 1s, 2s and 2s", calls, took)
		}
		if r := g.Report()[0]; r.Attempts != 4 || r.Err != nil || r.State != lifecycle.ComponentRunning {
			t.Errorf("report %+v, want 4 attempts and no error", r)
		}
		_ = g.Stop(t.Context())
	})
}

func TestRetryGivesUpAtTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, lifecycle.Config{StartTimeout: 10 * time.Second})
		g.Add("x", lifecycle.Funcs{OnStart: func(context.Context) error { return errBoom }}, lifecycle.Retry(time.Second, time.Second))
		began := time.Now()
		err := g.Start(t.Context())
		if !errors.Is(componentError(t, err, "x", lifecycle.PhaseStart), errBoom) {
			t.Errorf("Start = %v, want the last failure", err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("Start took %v, want its limit of 10s", took)
		}
	})
}

func TestOptional(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var up atomic.Bool
		g := newGroup(t, lifecycle.Config{})
		c := j.component("redis")
		g.Add("redis", lifecycle.Funcs{OnStart: func(ctx context.Context) error {
			if !up.Load() {
				return errBoom
			}
			return c.Start(ctx)
		}, OnStop: c.OnStop}, lifecycle.Optional(), lifecycle.Retry(time.Second, time.Second))
		g.Add("http", j.component("http"))
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := g.Report()[0]; !errors.Is(r.Err, errBoom) || r.State != lifecycle.ComponentStarting {
			t.Errorf("report %+v, want a component that is still starting, with its error", r)
		}
		up.Store(true)
		time.Sleep(time.Second)
		synctest.Wait()
		if r := g.Report()[0]; r.Err != nil || r.State != lifecycle.ComponentRunning || r.Attempts != 2 {
			t.Errorf("report %+v, want a component that joined at the second attempt", r)
		}
		if err := g.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if got, want := j.String(), "+http +redis -http -redis"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestOptionalNeverJoins stops while the background start is at work, which
// ignores its context to make it harder.
func TestOptionalNeverJoins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		calls, stops := 0, 0
		g := newGroup(t, lifecycle.Config{})
		g.Add("x", lifecycle.Funcs{
			OnStart: func(context.Context) error {
				if calls++; calls == 1 {
					return errBoom
				}
				<-release
				return nil
			},
			OnStop: func(context.Context) error { stops++; return nil },
		}, lifecycle.Optional(), lifecycle.Retry(time.Millisecond, time.Millisecond))
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		began := time.Now()
		if err := g.Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v, want nil", err)
		}
		if took := time.Since(began); took != 100*time.Millisecond || stops != 1 {
			t.Errorf("Stop took %v and called Stop %d times, want the grace and 1", took, stops)
		}
	})
}

// TestLimitedContext shows that a component sees the same of its context whether
// it looks at it early, late or not at all.
func TestLimitedContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		kept := make(chan context.Context, 1)
		g := newGroup(t, lifecycle.Config{StartTimeout: time.Second, StopTimeout: time.Minute, StopBudget: 10 * time.Second})
		g.Add("late", lifecycle.Funcs{
			OnStart: func(ctx context.Context) error {
				if until, ok := ctx.Deadline(); !ok || time.Until(until) != time.Second {
					t.Errorf("Deadline = %v, %t, want a second from now", until, ok)
				}
				if ctx.Value(key{}) != "value" {
					t.Error("a value of Start's context is missing")
				}
				child, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				<-child.Done()
				if child.Err() != context.DeadlineExceeded || !strings.Contains(context.Cause(child).Error(), "start timeout") {
					t.Errorf("Err = %v, Cause = %v, want the start timeout", child.Err(), context.Cause(child))
				}
				return nil
			},
			OnStop: func(ctx context.Context) error {
				if until, ok := ctx.Deadline(); !ok || time.Until(until) != 10*time.Second {
					t.Errorf("Deadline of Stop = %v, %t, want the budget's", until, ok)
				}
				return nil
			},
		})
		g.Add("never", lifecycle.Funcs{OnStart: func(ctx context.Context) error { kept <- ctx; return nil }})
		if err := errors.Join(g.Start(context.WithValue(t.Context(), key{}, "value")), g.Stop(t.Context())); err != nil {
			t.Error(err)
		}
		if err := (<-kept).Err(); err != context.Canceled {
			t.Errorf("Err after Start = %v, want Canceled", err)
		}
	})
}
