package health_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/lifecycle/lifecycletest"
)

func TestCheckerIsAComponent(t *testing.T) {
	t.Parallel()
	lifecycletest.Run(t, func(t *testing.T) lifecycle.Component {
		t.Helper()
		c := newChecker(t, health.Config{})
		c.Add("a", pass)
		c.Add("b", fail)
		return c
	})
}

func TestInvalidConfig(t *testing.T) {
	t.Parallel()
	_, err := health.New(health.Config{Interval: -1, Timeout: -1})
	if !errors.Is(err, health.ErrInvalidConfig) || !strings.Contains(err.Error(), "Interval") || !strings.Contains(err.Error(), "Timeout") {
		t.Errorf("New = %v, want ErrInvalidConfig with both mistakes", err)
	}
	want := health.Config{Interval: 100 * time.Millisecond, FailingInterval: 100 * time.Millisecond, Timeout: health.DefaultTimeout}
	if got := newChecker(t, health.Config{Interval: 100 * time.Millisecond}).Config(); got != want {
		t.Errorf("Config = %+v, want %+v", got, want)
	}
}

func TestAddPanicsOnWiringMistakes(t *testing.T) {
	t.Parallel()
	for name, add := range map[string]func(c *health.Checker){
		"no name": func(c *health.Checker) { c.Add("", pass) },
		"slash":   func(c *health.Checker) { c.Add("a/b", pass) },
		"comma":   func(c *health.Checker) { c.Add("a,b", pass) },
		"twice":   func(c *health.Checker) { c.Add("a", pass); c.Add("a", pass) },

		"an endpoint's name": func(c *health.Checker) { c.Add("live", pass) },
		"no silence":         func(c *health.Checker) { c.Heartbeat("loop", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			add(newChecker(t, health.Config{}))
		})
	}
}

// TestNeverSucceededFails shows that there is no "ready" before the first
// success, thresholds or not.
func TestNeverSucceededFails(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{})
	c.Add("a", fail, health.Thresholds(10, 1))
	if r := state(t, c, "a"); r.Status != health.Fail || r.Class != "not checked yet" {
		t.Errorf("before Start: %s, %q, want fail, not checked yet", r.Status, r.Class)
	}
	start(t, c)
	if r := state(t, c, "a"); r.Status != health.Fail || !errors.Is(r.Err, errBoom) {
		t.Errorf("after the first run: %s, %v, want fail, boom", r.Status, r.Err)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	degraded := func(context.Context) error { return health.Degraded(errBoom) }
	for name, test := range map[string]struct {
		check func(context.Context) error
		opts  []health.CheckOption
		want  health.Status
		ready bool
	}{
		"pass":              {pass, nil, health.Pass, true},
		"required fails":    {fail, nil, health.Fail, false},
		"optional fails":    {fail, []health.CheckOption{health.Optional()}, health.Warn, true},
		"required degraded": {degraded, nil, health.Warn, true},
		"optional degraded": {degraded, []health.CheckOption{health.Optional()}, health.Warn, true},
		"nil":               {nil, nil, health.Pass, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newChecker(t, health.Config{})
			c.Add("a", test.check, test.opts...)
			start(t, c)
			if r := c.Report(t.Context()); r.Status != test.want || r.Ready != test.ready {
				t.Errorf("status %s, ready %v, want %s, %v", r.Status, r.Ready, test.want, test.ready)
			}
		})
	}
	if health.Degraded(nil) != nil {
		t.Error("Degraded(nil) is not nil")
	}
}

// outcome is what a scripted check returns from now on.
type outcome struct{ atomic.Pointer[error] }

func (o *outcome) set(err error) { o.Store(&err) }

func (o *outcome) check(context.Context) error {
	if p := o.Load(); p != nil {
		return *p
	}
	return nil
}

func TestIntervals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o outcome
		var runs []time.Time
		c := newChecker(t, health.Config{}, health.WithObserver(func(health.Event) { runs = append(runs, time.Now()) }))
		c.Add("a", o.check)
		start(t, c)
		time.Sleep(time.Minute)
		o.set(errBoom)
		time.Sleep(time.Minute)
		_ = c.Stop(t.Context())
		var slow, fast int
		seen := map[time.Duration]bool{}
		for i := range runs[1:] {
			gap := runs[i+1].Sub(runs[i])
			seen[gap] = true
			switch {
			case gap >= 4500*time.Millisecond && gap <= 5500*time.Millisecond:
				slow++
			case gap >= 900*time.Millisecond && gap <= 1100*time.Millisecond:
				fast++
			default:
				t.Errorf("a gap of %v", gap)
			}
		}
		if slow < 10 || fast < 50 || len(seen) < 20 {
			t.Errorf("%d slow and %d fast gaps of %d lengths, want about 12 and 55, jittered", slow, fast, len(seen))
		}
	})
}

func TestThresholds(t *testing.T) {
	t.Parallel()
	warn := health.Degraded(errBoom)
	testThresholds(t, []error{nil, errBoom, nil, errBoom, errBoom, nil, errBoom, errBoom, errBoom, nil, errBoom, nil, nil}, "PPPPPPPPFFFFP")
	// Some good runs pass and some warn: none of it is a failure.
	testThresholds(t, []error{nil, errBoom, errBoom, errBoom, warn, nil, warn, nil, nil}, "PPPFFWWWP")
}

// testThresholds runs a check that fails after three failures and passes after two
// successes.
func testThresholds(t *testing.T, script []error, want string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var o outcome
		var seen []health.Status
		var runs atomic.Int64
		c := newChecker(t, health.Config{Interval: time.Second}, health.WithObserver(func(e health.Event) { seen = append(seen, e.To); runs.Add(1) }))
		c.Add("a", o.check, health.Thresholds(3, 2))
		start(t, c)
		synctest.Wait()
		for i, err := range script {
			if i > 0 { // the first run was at the start
				o.set(err)
				before := runs.Load()
				for runs.Load() == before {
					time.Sleep(10 * time.Millisecond)
					synctest.Wait()
				}
			}
		}
		_ = c.Stop(t.Context())
		var got strings.Builder
		for _, s := range seen {
			got.WriteString(strings.ToUpper(string(s[:1])))
		}
		if got.String() != want {
			t.Errorf("states %s, want %s", got.String(), want)
		}
	})
}

// TestHungCheck shows that a check that ignores its context is a timeout at its
// limit, is never started twice, and costs one goroutine.
func TestHungCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var calls atomic.Int64
		c := newChecker(t, health.Config{})
		c.Add("hung", func(context.Context) error { calls.Add(1); <-release; return nil })
		began := time.Now()
		start(t, c)
		took := time.Since(began)
		if took != health.DefaultTimeout+health.DefaultTimeout/20 {
			t.Errorf("Start took %v, want the time limit", took)
		}
		before := runtime.NumGoroutine()
		for range 100 {
			time.Sleep(time.Second)
			if r := state(t, c, "hung"); r.Status != health.Fail || r.Class != "timeout" {
				t.Fatalf("%s, %q, want fail, timeout", r.Status, r.Class)
			}
		}
		if calls.Load() != 1 {
			t.Errorf("%d calls, want 1", calls.Load())
		}
		if after := runtime.NumGoroutine(); after > before+2 { // other tests run beside it
			t.Logf("goroutines: %d before, %d after", before, after)
		}
		hung := calls.Load()
		close(release)
		returned := time.Now()
		for state(t, c, "hung").Status != health.Pass {
			if time.Since(returned) > 2*time.Second {
				t.Fatal("after its return: still not pass")
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Logf("known to hang after %v, %d call in 100 s, known to pass %v after its return", took, hung, time.Since(returned))
	})
}

func TestCheckContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, health.Config{})
		c.Add("slow", func(ctx context.Context) error {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != 100*time.Millisecond {
				t.Errorf("deadline in %v, want in 100ms", time.Until(deadline))
			}
			<-ctx.Done()
			return ctx.Err()
		}, health.Timeout(100*time.Millisecond))
		ctx, cancel := context.WithCancel(t.Context())
		if err := c.Start(ctx); err != nil {
			t.Fatal(err)
		}
		cancel() // bounds Start only
		time.Sleep(time.Minute)
		if r := state(t, c, "slow"); !errors.Is(r.Err, context.DeadlineExceeded) || r.Duration != 100*time.Millisecond {
			t.Errorf("%v after %v, want the check's own error at its limit", r.Err, r.Duration)
		}
		_ = c.Stop(t.Context())
	})
}

func TestPanickingCheck(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	var mu sync.Mutex
	c := newChecker(t, health.Config{}, health.WithLogger(slog.New(slog.NewTextHandler(lockedWriter{&mu, &b}, nil))))
	c.Add("a", func(context.Context) error { panic("canary") },
		health.Details(func() any { panic("details") }))
	start(t, c)
	if r := state(t, c, "a"); r.Status != health.Fail || r.Class != "panic" {
		t.Errorf("%s, %q, want fail, panic", r.Status, r.Class)
	}
	mu.Lock()
	defer mu.Unlock()
	if log := b.String(); !strings.Contains(log, "checker_test.go") || !strings.Contains(log, "canary") {
		t.Errorf("the log has no stack: %s", log)
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *strings.Builder
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// TestStaleResult shows that an old "pass" is not believed for ever, here
// because the background was stopped.
func TestStaleResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, health.Config{})
		c.Add("required", pass)
		c.Add("optional", pass, health.Optional())
		h := health.Handler(c)
		start(t, c)
		_ = c.Stop(t.Context())
		time.Sleep(15 * time.Second)
		if w := get(h, "/ready"); w.Code != http.StatusOK {
			t.Errorf("after three intervals: %d, want 200", w.Code)
		}
		time.Sleep(time.Second)
		w := get(h, "/ready")
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "out of date") {
			t.Errorf("after that: %d %s, want 503, out of date", w.Code, w.Body)
		}
		if r := state(t, c, "optional"); r.Status != health.Warn {
			t.Errorf("optional: %s, want warn", r.Status)
		}
	})
}

func TestStartupCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o outcome
		var runs atomic.Int64
		o.set(errBoom)
		c := newChecker(t, health.Config{})
		c.Add("migrations", func(ctx context.Context) error { runs.Add(1); return o.check(ctx) }, health.ForStartup())
		c.Add("db", fail)
		h := health.Handler(c)
		start(t, c)
		if get(h, "/startup").Code != http.StatusServiceUnavailable {
			t.Error("started before the check passed")
		}
		o.set(nil)
		time.Sleep(2 * time.Second)
		if w := get(h, "/startup"); w.Code != http.StatusOK {
			t.Errorf("/startup: %d %s, want 200: db is no check of start-up", w.Code, w.Body)
		}
		o.set(errBoom)
		before := runs.Load()
		time.Sleep(time.Hour)
		if runs.Load() != before || get(h, "/startup").Code != http.StatusOK {
			t.Errorf("%d more runs, /startup %d, want none and 200", runs.Load()-before, get(h, "/startup").Code)
		}
	})
}

func TestOnDemand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int64
		c := newChecker(t, health.Config{})
		c.Add("costly", func(context.Context) error { runs.Add(1); time.Sleep(100 * time.Millisecond); return nil }, health.OnDemand(10*time.Second))
		h := health.Handler(c)
		start(t, c)
		time.Sleep(time.Hour)
		if runs.Load() != 0 {
			t.Errorf("%d runs before anybody asked", runs.Load())
		}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if w := get(h, "/ready"); w.Code != http.StatusOK {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		wg.Wait()
		get(h, "/ready")
		if runs.Load() != 1 {
			t.Errorf("%d runs for 51 requests, want 1", runs.Load())
		}
		time.Sleep(10 * time.Second)
		get(h, "/ready")
		if runs.Load() != 2 {
			t.Errorf("%d runs after the result's time, want 2", runs.Load())
		}
	})
}

// TestImpatientClient shows that who gives up spoils nothing for the others.
func TestImpatientClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, health.Config{})
		c.Add("slow", func(ctx context.Context) error {
			select {
			case <-time.After(60 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, health.OnDemand(time.Minute))
		start(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		c.Report(ctx)
		if r := c.Report(t.Context()); r.Status != health.Pass {
			t.Errorf("the next one gets %s: %v", r.Status, r.Checks[0].Err)
		}
	})
}

func TestOneRunAnIntervalWhateverTheLoad(t *testing.T) {
	t.Parallel()
	var runs [2]atomic.Int64
	c := newChecker(t, health.Config{Interval: time.Hour})
	for i, name := range []string{"a", "b"} {
		c.Add(name, func(context.Context) error { runs[i].Add(1); time.Sleep(5 * time.Millisecond); return nil })
	}
	h := health.Handler(c)
	start(t, c)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			for range 50 {
				if w := get(h, "/ready"); w.Code != http.StatusOK {
					t.Errorf("%d", w.Code)
				}
			}
		})
	}
	wg.Wait()
	for i := range runs {
		if got := runs[i].Load(); got != 1 {
			t.Errorf("check %d ran %d times for 10,000 requests within an interval, want 1", i, got)
		}
	}
}

func TestEventsAndLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o outcome
		var b strings.Builder
		var events []health.Event
		c := newChecker(t, health.Config{},
			health.WithLogger(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))),
			health.WithObserver(func(e health.Event) { events = append(events, e) }))
		c.Add("a", o.check)
		start(t, c)
		o.set(errBoom)
		time.Sleep(30 * time.Second)
		_ = c.Stop(t.Context())
		want := `level=INFO msg="health changed" check=a from=fail to=pass duration=0s
level=ERROR msg="health changed" check=a from=pass to=fail duration=0s error=boom
`
		if b.String() != want {
			t.Errorf("log:\n%s\nwant\n%s", b.String(), want)
		}
		if len(events) < 20 || events[0].To != health.Pass || events[1].From != health.Pass || events[1].To != health.Fail {
			t.Errorf("events %+v", events)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, health.Config{})
		beat := c.Heartbeat("worker", 10*time.Second)
		h := health.Handler(c)
		for range 5 {
			time.Sleep(9 * time.Second)
			if !c.Alive() || get(h, "/live").Code != http.StatusOK {
				t.Fatal("not alive, although it beats")
			}
			beat()
		}
		time.Sleep(11 * time.Second)
		w := get(h, "/live")
		if c.Alive() || w.Code != http.StatusServiceUnavailable {
			t.Errorf("alive %v, /live %d, want dead", c.Alive(), w.Code)
		}
		if w := get(h, "/"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "worker") {
			t.Errorf("the basic endpoint: %d %s, want 503 and the name", w.Code, w.Body)
		}
		if w := get(h, "/ready"); w.Code != http.StatusOK {
			t.Errorf("/ready: %d, want 200: that is not its question", w.Code)
		}
		beat()
		if get(h, "/live").Code != http.StatusOK {
			t.Error("not alive after the next beat")
		}
	})
}

func TestReadyMadeChecks(t *testing.T) {
	t.Parallel()
	inUse, waiting := 19, 0
	pool := health.Pool(fail, func() (int, int, int) { return inUse, 20, waiting })
	if err := pool(t.Context()); !errors.Is(err, errBoom) {
		t.Errorf("with room: %v, want the ping's result", err)
	}
	inUse, waiting = 20, 3
	if err := pool(t.Context()); !errors.Is(err, health.ErrSaturated) {
		t.Errorf("saturated: %v, want ErrSaturated without a ping", err)
	}
	var since time.Time
	fallback := health.Fallback(func() time.Time { return since })
	if err := fallback(t.Context()); err != nil {
		t.Errorf("not on fallback: %v", err)
	}
	since = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := fallback(t.Context()); !errors.Is(err, health.ErrFallback) || !strings.Contains(err.Error(), "2026-01-02T03:04:05Z") {
		t.Errorf("on fallback: %v, want since when", err)
	}
}

func TestConcurrentSafe(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{Interval: time.Millisecond})
	h := health.Handler(c, health.WithLevel(everything))
	start(t, c)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			c.Add(string(rune('a'+i)), pass, health.Details(func() any { return struct{ MaxConns, Waiting int }{1, 2} }))
			beat := c.Heartbeat("x", time.Hour)
			for range 30 {
				beat()
				c.SetReady(true)
				c.SetPhase(health.Running)
				c.Report(t.Context())
				get(h, "/detailed")
				get(h, "/detailed", "Accept", "text/html")
				get(h, "/live")
			}
		})
	}
	wg.Wait()
}

func TestNilOptions(t *testing.T) {
	t.Parallel()
	c, err := health.New(health.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Add("nothing", func(context.Context) error { return nil }, nil)
	_ = health.Handler(c, nil)
}
