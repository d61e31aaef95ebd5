package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/health"
)

// slow runs each check once in a test.
var slow = health.Config{Interval: time.Hour, FailingInterval: time.Hour}

// nilError is an error whose text can be had of a nil pointer, but not what it
// wraps.
type nilError struct{ inner error }

func (e *nilError) Error() string { return "nil" }
func (e *nilError) Unwrap() error { return e.inner }

// panicError is an error whose text cannot be had.
type panicError struct{}

func (panicError) Error() string { panic("canary") }

// TestErrorThatPanics must end neither the process nor the other checks.
func TestErrorThatPanics(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"nil pointer": (*net.OpError)(nil), "nil pointer that unwraps": (*nilError)(nil),
		"panic": panicError{}, "degraded": health.Degraded(panicError{}),
	} {
		for kind, opt := range map[string]health.CheckOption{"background": nil, "on demand": health.OnDemand(time.Hour)} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				seen := make(chan error, 1)
				c := newChecker(t, slow, health.WithLogger(slog.New(slog.DiscardHandler)), health.WithObserver(func(e health.Event) { seen <- e.Err }))
				c.Add("a", func(context.Context) error { return err }, opt)
				start(t, c)
				if r := state(t, c, "a"); r.Status != health.Fail || r.Class != "panic" || !strings.Contains(r.Err.Error(), "the check's error panics") {
					t.Errorf("%s, %q, %v, want a failure that says what panics", r.Status, r.Class, r.Err)
				}
				if w := get(health.Handler(c, health.WithLevel(everything)), "/ready"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "error panics") {
					t.Errorf("/ready: %d %s, want 503 and why", w.Code, w.Body)
				}
				if err := <-seen; err == nil || !strings.Contains(err.Error(), "panics") {
					t.Errorf("the observer got %v, want an error that it can use", err)
				}
			})
		}
	}
}

// TestTextIsAskedOnce shows that no request calls a method of an error.
func TestTextIsAskedOnce(t *testing.T) {
	t.Parallel()
	e := &countedError{}
	c := newChecker(t, slow, health.WithLogger(slog.New(slog.DiscardHandler)))
	c.Add("a", func(context.Context) error { return e })
	c.Add("b", pass)
	start(t, c)
	h := health.Handler(c, health.WithLevel(everything))
	before := e.calls
	for range 3 {
		get(h, "/detailed")
		get(h, "/detailed?format=html")
		c.SetReady(true)
	}
	if e.calls != before {
		t.Errorf("%d calls of Error by requests, want none", e.calls-before)
	}
}

type countedError struct{ calls int }

func (e *countedError) Error() string { e.calls++; return "counted" }

// TestJoinedErrors shows that a hard error is not softened by the one beside it.
func TestJoinedErrors(t *testing.T) {
	t.Parallel()
	soft := health.Degraded(errBoom)
	for name, test := range map[string]struct {
		err  error
		want health.Status
	}{
		"hard and soft":        {errors.Join(errBoom, soft), health.Fail},
		"soft and hard":        {errors.Join(soft, errBoom), health.Fail},
		"soft and soft":        {errors.Join(soft, soft), health.Warn},
		"a join made soft":     {health.Degraded(errors.Join(errBoom, soft)), health.Warn},
		"a join in an error":   {&nilError{errors.Join(soft, errBoom)}, health.Fail},
		"a join in a join":     {errors.Join(soft, errors.Join(soft, errBoom)), health.Fail},
		"an error in an error": {&nilError{soft}, health.Warn},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newChecker(t, health.Config{})
			c.Add("a", func(context.Context) error { return test.err })
			start(t, c)
			if r := state(t, c, "a"); r.Status != test.want {
				t.Errorf("got %s, want %s", r.Status, test.want)
			}
		})
	}
}

type panickingJSON struct{}

func (panickingJSON) MarshalJSON() ([]byte, error) { panic("canary") }

// TestDetailsAreRenderedAlone shows that those of one check cost no other check
// anything.
func TestDetailsAreRenderedAlone(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{}, health.WithLogger(slog.New(slog.DiscardHandler)))
	c.Add("chan", pass, health.Details(func() any { return make(chan int) }))
	c.Add("nan", pass, health.Details(func() any { return stats{MaxConns: 4, HitRatio: math.NaN()} }))
	c.Add("panic", pass, health.Details(func() any { return panickingJSON{} }), health.Gauges(func() []health.Gauge { return []health.Gauge{{Name: "kept", Value: 1}} }))
	c.Add("good", pass, health.Details(func() any { return map[string]int{"answer": 42} }))
	c.Add("none", pass, health.Details(func() any { return nil }))
	start(t, c)
	h := health.Handler(c, health.WithLevel(everything))
	services := decode[struct {
		Services map[string]struct{ Details json.RawMessage }
	}](t, get(h, "/detailed")).Services
	for name, want := range map[string]string{
		"chan": `"cannot be shown as JSON"`, "nan": `"cannot be shown as JSON"`, "panic": `"cannot be shown as JSON"`, "good": `{"answer":42}`, "none": "",
	} {
		if got := string(services[name].Details); got != want {
			t.Errorf("details of %s: %s, want %s", name, got, want)
		}
	}
	if body := get(h, "/detailed?format=health").Body.String(); !strings.Contains(body, "good:responseTime") || !strings.Contains(body, "panic:kept") {
		t.Errorf("draft: %s, want all checks and the gauge", body)
	}
}

// TestGaugesWithoutNumbers are left out, since neither JSON nor the page has a
// form for them.
func TestGaugesWithoutNumbers(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{})
	c.Add("a", pass, health.Details(func() any { return struct{ HitRatio, P99 float64 }{math.NaN(), 7e6} }),
		health.Gauges(func() []health.Gauge {
			return []health.Gauge{{Name: "inf", Value: math.Inf(1)}, {Name: "max", Max: math.Inf(-1)}, {Name: "rate", Rate: math.NaN()}, {Name: "kept", Value: 1}}
		}))
	start(t, c)
	var names []string
	for _, g := range state(t, c, "a").Gauges {
		names = append(names, g.Name)
	}
	if got, want := strings.Join(names, ", "), "99th percentile, kept"; got != want {
		t.Errorf("gauges %s, want %s", got, want)
	}
	if body := get(health.Handler(c, health.WithLevel(everything)), "/detailed").Body.String(); !strings.Contains(body, `"kept"`) {
		t.Errorf("/detailed: %s", body)
	}
}

// TestObserverThatPanics spoils nothing for the next one.
func TestObserverThatPanics(t *testing.T) {
	t.Parallel()
	told := make(chan health.Event, 1)
	c := newChecker(t, slow, health.WithLogger(slog.New(slog.DiscardHandler)),
		health.WithObserver(func(health.Event) { panic("canary") }),
		health.WithObserver(func(e health.Event) { told <- e }))
	c.Add("a", pass)
	start(t, c)
	if e := <-told; e.To != health.Pass {
		t.Errorf("event %+v, want a pass", e)
	}
}
