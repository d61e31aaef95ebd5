package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/lifecycle/lifecycletest"
)

func TestGroupIsAComponent(t *testing.T) {
	t.Parallel()
	lifecycletest.Run(t, func(t *testing.T) lifecycle.Component {
		t.Helper()
		g := newGroup(t, lifecycle.Config{})
		g.Add("a", lifecycle.Funcs{})
		g.Go("task", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		return g
	})
}

func TestOrderOfAddition(t *testing.T) {
	t.Parallel()
	var j journal
	g := newGroup(t, lifecycle.Config{})
	for _, name := range []string{"a", "b", "c"} {
		g.Add(name, j.component(name))
	}
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := j.String(), "+a +b +c -c -b -a"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAfterMakesAGraph shows the parallel start of what is independent: each of
// two components waits for the other.
func TestAfterMakesAGraph(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		slow := func(name string) lifecycle.Funcs {
			c := j.component(name)
			return lifecycle.Funcs{
				OnStart: func(ctx context.Context) error { time.Sleep(time.Second); return c.Start(ctx) },
				OnStop:  func(ctx context.Context) error { time.Sleep(time.Second); return c.Stop(ctx) },
			}
		}
		g := newGroup(t, lifecycle.Config{})
		g.Add("http", slow("http"), lifecycle.After("db", "cache")) // added first, started last
		g.Add("db", slow("db"), lifecycle.After())
		g.Add("cache", slow("cache"), lifecycle.After())
		began := time.Now()
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Start took %v, want 2s: db and cache in parallel, then http", took)
		}
		if j.index("+http") != 2 {
			t.Errorf("got %q, want http last", j.String())
		}
		began = time.Now()
		if err := g.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 2*time.Second || j.index("-http") != 3 {
			t.Errorf("Stop took %v, want 2s; got %q, want http first", took, j.String())
		}
	})
}

func TestInvalidOrder(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		add  func(g *lifecycle.Group)
		want string
	}{
		"cycle": {func(g *lifecycle.Group) {
			g.Add("a", lifecycle.Funcs{}, lifecycle.After("c"))
			g.Add("b", lifecycle.Funcs{}, lifecycle.After("a"))
			g.Add("c", lifecycle.Funcs{}, lifecycle.After("b"))
		}, "a cycle: a after c after b after a"},
		"itself":  {func(g *lifecycle.Group) { g.Add("a", lifecycle.Funcs{}, lifecycle.After("a")) }, "a cycle: a after a"},
		"unknown": {func(g *lifecycle.Group) { g.Add("a", lifecycle.Funcs{}, lifecycle.After("b")) }, `a comes after "b", which was not added`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, lifecycle.Config{})
			g.Add("first", lifecycle.Funcs{OnStart: func(context.Context) error { t.Error("something was started"); return nil }}, lifecycle.After())
			test.add(g)
			err := g.Start(t.Context())
			if !errors.Is(err, lifecycle.ErrInvalidOrder) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Start = %v, want ErrInvalidOrder with %q", err, test.want)
			}
		})
	}
}

func TestAddPanicsOnWiringMistakes(t *testing.T) {
	t.Parallel()
	started := newGroup(t, lifecycle.Config{})
	if err := started.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, add := range map[string]func(g *lifecycle.Group){
		"no name":     func(g *lifecycle.Group) { g.Add("", lifecycle.Funcs{}) },
		"nil":         func(g *lifecycle.Group) { g.Add("x", nil) },
		"nil task":    func(g *lifecycle.Group) { g.Go("x", nil) },
		"twice":       func(g *lifecycle.Group) { g.Add("x", lifecycle.Funcs{}); g.Add("x", lifecycle.Funcs{}) },
		"after Start": func(*lifecycle.Group) { started.Add("x", lifecycle.Funcs{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			add(newGroup(t, lifecycle.Config{}))
		})
	}
}

func TestInvalidConfig(t *testing.T) {
	t.Parallel()
	for _, opt := range []lifecycle.Option{lifecycle.WithDrain(-1, nil), lifecycle.WithDrain(25*time.Second, nil)} {
		if _, err := lifecycle.New(lifecycle.Config{}, opt); !errors.Is(err, lifecycle.ErrInvalidConfig) {
			t.Errorf("New = %v, want ErrInvalidConfig", err)
		}
	}
	g := newGroup(t, lifecycle.Config{StopBudget: time.Minute}, lifecycle.WithDrain(30*time.Second, nil))
	want := lifecycle.Config{StartTimeout: lifecycle.DefaultStartTimeout, StopTimeout: lifecycle.DefaultStopTimeout, StopBudget: time.Minute}
	if g.Config() != want {
		t.Errorf("Config = %+v, want %+v", g.Config(), want)
	}
}

// TestRandomGraphs checks the promise of order on graphs of 100 components.
func TestRandomGraphs(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		const n = 100
		var j journal
		g := newGroup(t, lifecycle.Config{})
		before := make([][]int, n) // what i starts after
		perm := rng.Perm(n)        // names in an order that has nothing to do with that of addition
		for _, i := range rng.Perm(n) {
			var names []string
			for k := range n {
				// Only edges that go down in perm, so that there is no cycle.
				if perm[k] < perm[i] && rng.IntN(10) == 0 {
					before[i] = append(before[i], k)
					names = append(names, fmt.Sprint(k))
				}
			}
			g.Add(fmt.Sprint(i), j.component(fmt.Sprint(i)), lifecycle.After(names...))
		}
		if err := errors.Join(g.Start(t.Context()), g.Stop(t.Context())); err != nil {
			t.Fatal(err)
		}
		for i, list := range before {
			for _, k := range list {
				up, down := fmt.Sprintf("+%d", i), fmt.Sprintf("-%d", i)
				if j.index(fmt.Sprintf("+%d", k)) > j.index(up) || j.index(fmt.Sprintf("-%d", k)) < j.index(down) {
					t.Fatalf("seed %d: %d comes after %d, but the journal says otherwise", seed, i, k)
				}
			}
		}
		if len(j.lines) != 2*n {
			t.Fatalf("seed %d: %d steps, want %d", seed, len(j.lines), 2*n)
		}
	}
}

func TestStopWithoutStart(t *testing.T) {
	t.Parallel()
	g := newGroup(t, lifecycle.Config{})
	g.Add("a", lifecycle.Funcs{
		OnStart: func(context.Context) error { t.Error("started"); return nil },
		OnStop:  func(context.Context) error { t.Error("stopped"); return nil },
	})
	if err := errors.Join(g.Stop(t.Context()), g.Stop(t.Context())); err != nil {
		t.Errorf("Stop = %v, want nil", err)
	}
	if err := g.Start(t.Context()); !errors.Is(err, lifecycle.ErrStopped) {
		t.Errorf("Start after Stop = %v, want ErrStopped", err)
	}
	if g.State() != lifecycle.StateStopped {
		t.Errorf("State = %v, want stopped", g.State())
	}
}

func TestStartTwice(t *testing.T) {
	t.Parallel()
	g := newGroup(t, lifecycle.Config{})
	g.Add("a", lifecycle.Funcs{})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Start(t.Context()); !errors.Is(err, lifecycle.ErrAlreadyStarted) {
		t.Errorf("the second Start = %v, want ErrAlreadyStarted", err)
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := g.Start(t.Context()); !errors.Is(err, lifecycle.ErrAlreadyStarted) {
		t.Errorf("Start after Stop = %v, want ErrAlreadyStarted", err)
	}
}

func TestStatesAndEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var states []string
		var events []lifecycle.Event
		g := newGroup(t, lifecycle.Config{},
			lifecycle.OnState(func(s lifecycle.State) { states = append(states, s.String()) }),
			lifecycle.WithObserver(func(e lifecycle.Event) { events = append(events, e) }),
			lifecycle.WithDrain(3*time.Second, func() { states = append(states, "begin") }))
		sleep := func(context.Context) error { time.Sleep(time.Second); return nil }
		g.Add("a", lifecycle.Funcs{OnStart: sleep, OnStop: sleep})
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := g.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("Stop took %v, want the drain delay of 3s and 1s", took)
		}
		if got, want := strings.Join(states, " "), "starting running begin draining stopping stopped"; got != want {
			t.Errorf("states %q, want %q", got, want)
		}
		want := []lifecycle.Event{
			{Component: "a", Phase: lifecycle.PhaseStart, Duration: time.Second, Attempt: 1},
			{Component: "a", Phase: lifecycle.PhaseStop, Duration: time.Second},
		}
		if len(events) != 2 || events[0] != want[0] || events[1] != want[1] {
			t.Errorf("events %+v, want %+v", events, want)
		}
		report := g.Report()[0]
		if report != (lifecycle.Report{Name: "a", State: lifecycle.ComponentStopped, Attempts: 1, Started: time.Second, Stopped: time.Second}) {
			t.Errorf("report %+v", report)
		}
	})
}

func TestLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		l := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "stacks" {
				return slog.Attr{}
			}
			return a
		}}))
		g := newGroup(t, lifecycle.Config{}, lifecycle.WithLogger(l))
		g.Add("a", lifecycle.Funcs{OnStop: func(context.Context) error { panic("p") }})
		_ = g.Start(t.Context())
		_ = g.Stop(t.Context())
		want := `level=INFO msg="times of the group" stop_budget=25s drain_delay=0s
level=INFO msg="group changed" state=starting components=1
level=INFO msg="component started" component=a phase=start duration=0s attempt=1
level=INFO msg="group changed" state=running components=1
level=INFO msg="group changed" state=draining components=1
level=INFO msg="group changed" state=stopping components=1
level=ERROR msg="component failed" component=a phase=stop duration=0s error="lifecycle: stop a: panic: p"
level=INFO msg="group changed" state=stopped components=1
`
		if b.String() != want {
			t.Errorf("got\n%s\nwant\n%s", b.String(), want)
		}
	})
}

// TestConcurrentSafe stops while starting, from everywhere, many times over.
func TestConcurrentSafe(t *testing.T) {
	t.Parallel()
	for range 200 {
		var j journal
		g := newGroup(t, lifecycle.Config{})
		for _, name := range []string{"a", "b", "c"} {
			g.Add(name, j.component(name), lifecycle.After())
		}
		g.Add("d", j.component("d"), lifecycle.After("a", "b", "c"))
		var wg sync.WaitGroup
		var startErr error
		wg.Go(func() { startErr = g.Start(context.WithoutCancel(t.Context())) })
		for range 3 {
			wg.Go(func() {
				if err := g.Stop(t.Context()); err != nil {
					t.Errorf("Stop = %v, want nil", err)
				}
			})
			wg.Go(func() { _, _, _ = g.State(), g.Report(), g.Config(); g.Drain() })
		}
		wg.Wait()
		if startErr != nil && !errors.Is(startErr, lifecycle.ErrStopped) {
			t.Fatalf("Start = %v, want nil or ErrStopped", startErr)
		}
		for _, name := range []string{"a", "b", "c", "d"} {
			if up, down := strings.Count(j.String(), "+"+name), strings.Count(j.String(), "-"+name); up != down {
				t.Fatalf("%s was started %d times and stopped %d times: %s", name, up, down, j.String())
			}
		}
		if g.State() != lifecycle.StateStopped {
			t.Fatalf("State = %v, want stopped", g.State())
		}
	}
}

func BenchmarkGroup(b *testing.B) {
	const n = 100
	logger := slog.New(slog.DiscardHandler)
	b.ReportAllocs()
	for b.Loop() {
		g := newGroup(b, lifecycle.Config{}, lifecycle.WithLogger(logger))
		for i := range n {
			g.Add(fmt.Sprint(i), lifecycle.Funcs{}, lifecycle.After())
		}
		if err := errors.Join(g.Start(b.Context()), g.Stop(b.Context())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/component")
}

func TestNilOptions(t *testing.T) {
	t.Parallel()
	g, err := lifecycle.New(lifecycle.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.Add("nothing", lifecycle.Funcs{}, nil)
}
