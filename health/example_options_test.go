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
