package health_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/pedro-go/pedro/health"
)

// started is a checker with these checks, which has run them once.
func started(add func(c *health.Checker)) (c *health.Checker, stop func()) {
	ctx := context.Background()
	c, err := health.New(health.Config{}, health.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	add(c)
	if err := c.Start(ctx); err != nil {
		panic(err)
	}
	return c, func() { _ = c.Stop(ctx) }
}

// Something is wrong, and the service works all the same.
func ExampleDegraded() {
	checks, stop := started(func(c *health.Checker) {
		c.Add("disk", func(context.Context) error { return health.Degraded(errors.New("91 % full")) })
	})
	defer stop()
	r := checks.Report(context.Background())
	fmt.Println(r.Status, r.Ready, r.Checks[0].Err)
	// Output: warn true 91 % full
}

// A component on its fallback warns for as long as it is on it.
func ExampleFallback() {
	since := time.Now()
	checks, stop := started(func(c *health.Checker) {
		c.Add("sessions", health.Fallback(func() time.Time { return since })) // sessions.Stats().FallbackSince
	})
	defer stop()
	r := checks.Report(context.Background())
	fmt.Println(r.Status, errors.Is(r.Checks[0].Err, health.ErrFallback))
	// Output: warn true
}

// Messages and numbers are for those whom the host knows.
func ExampleWithLevel() {
	checks, stop := started(func(c *health.Checker) {
		c.Add("postgres", func(context.Context) error { return errors.New("no route to 10.0.0.7") })
	})
	defer stop()
	h := health.Handler(checks, health.WithLevel(func(r *http.Request) health.Level {
		if r.Header.Get("X-Admin") == "yes" { // in a service: session.IsAuthenticated(r.Context())
			return health.LevelEverything
		}
		return health.LevelStates
	}))
	for _, admin := range []string{"no", "yes"} {
		r := httptest.NewRequest(http.MethodGet, "/ready/postgres?format=text", http.NoBody)
		r.Header.Set("X-Admin", admin)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(admin, w.Code, strings.Contains(w.Body.String(), "10.0.0.7"))
	}
	// Output:
	// no 503 false
	// yes 503 true
}

// A loop that is stuck makes /live fail, so that the platform restarts the
// process.
func ExampleChecker_Heartbeat() {
	checks, stop := started(func(*health.Checker) {})
	defer stop()
	beat := checks.Heartbeat("queue", time.Minute)
	for range 3 { // the loop
		beat()
	}
	fmt.Println(checks.Alive())
	// Output: true
}

// How one check runs, and what it shows to those who may see everything.
func ExampleChecker_Add() {
	quiet := slog.New(slog.DiscardHandler)
	checks, err := health.New(health.Config{}, health.WithLogger(quiet),
		health.WithObserver(func(e health.Event) { fmt.Println(e.Check, e.To) })) // the place for metrics
	if err != nil {
		fmt.Println(err)
		return
	}
	type numbers struct{ MaxConns, AcquiredConns int }
	checks.Add("postgres", func(context.Context) error { return nil },
		health.Every(30*time.Second), health.Timeout(time.Second),
		health.Thresholds(3, 2),                              // fails after 3 failures, passes after 2 successes
		health.Details(func() any { return numbers{20, 5} }), // pool.Stats()
		health.Gauges(func() []health.Gauge { return []health.Gauge{{Name: "queue", Value: 3, Max: 10}} }),
		health.Advise(func() []string { return []string{"DB_POOL_MAX: 20 is plenty"} })) // pool.Advice
	checks.Add("report", func(context.Context) error { return nil }, health.OnDemand(time.Minute)) // when somebody asks
	ctx := context.Background()
	fmt.Println("start:", checks.Start(ctx))
	r := checks.Report(ctx)
	fmt.Println(r.Checks[0].Name, len(r.Checks[0].Gauges), r.Checks[0].Advice)
	fmt.Println("stop:", checks.Stop(ctx))
	// Unordered output:
	// start: <nil>
	// postgres pass
	// report pass
	// postgres 2 [DB_POOL_MAX: 20 is plenty]
	// stop: <nil>
}

// Ready follows the checks, the phase, and the host's own word.
func ExampleChecker_SetPhase() {
	checks, stop := started(func(c *health.Checker) {
		c.Add("migrations", func(context.Context) error { return nil }, health.ForStartup()) // has to pass once
	})
	defer stop()
	ready := func() bool { return checks.Report(context.Background()).Ready }
	fmt.Println(ready())
	checks.SetReady(false) // the host wants no requests for a while
	fmt.Println(ready())
	checks.SetReady(true)
	checks.SetPhase(health.Draining) // lifecycle.OnState does this
	fmt.Println(ready())
	// Output:
	// true
	// false
	// false
}

// Messages for those who may see everything, without what they need not know.
func ExampleWithRedactor() {
	checks, stop := started(func(c *health.Checker) {
		c.Add("postgres", func(context.Context) error { return errors.New("dial tcp 10.0.0.7:5432: refused") })
	})
	defer stop()
	h := health.Handler(checks,
		health.WithLevel(func(*http.Request) health.Level { return health.LevelEverything }),
		health.WithRedactor(func(_ string, err error) string { return strings.ReplaceAll(err.Error(), "10.0.0.7", "db") }))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ready/postgres?format=text", http.NoBody))
	fmt.Println(strings.Contains(w.Body.String(), "dial tcp db:5432: refused"))
	// Output: true
}
