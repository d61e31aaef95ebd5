// Package cases is the work that is measured, and the peers that do it.
package cases

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	alex "github.com/alexliesenfeld/health"
	hello "github.com/hellofresh/health-go/v5"
	"github.com/heptiolabs/healthcheck"
	"k8s.io/apiserver/pkg/server/healthz"

	"github.com/pedro-go/pedro/bench/harness"
	"github.com/pedro-go/pedro/health"
)

// checkTime is how long each of the two checks of these cases takes.
const checkTime = 5 * time.Millisecond

// healthStacks makes a readiness handler on each library, with two checks.
var healthStacks = map[string]func(ctx context.Context, check func(context.Context) error) (http.Handler, func() error, error){
	"pedro": func(ctx context.Context, check func(context.Context) error) (http.Handler, func() error, error) {
		c, err := health.New(health.Config{}, health.WithLogger(quiet))
		if err != nil {
			return nil, nil, err
		}
		c.Add("a", check)
		c.Add("b", check)
		return health.Handler(c), func() error { return c.Stop(context.Background()) }, c.Start(ctx)
	},
	"alexliesenfeld/health": func(_ context.Context, check func(context.Context) error) (http.Handler, func() error, error) {
		c := alex.NewChecker(alex.WithDisabledCache(), alex.WithCheck(alex.Check{Name: "a", Check: check}), alex.WithCheck(alex.Check{Name: "b", Check: check}))
		return alex.NewHandler(c), func() error { c.Stop(); return nil }, nil
	},
	"alexliesenfeld/health, periodic": func(ctx context.Context, check func(context.Context) error) (http.Handler, func() error, error) {
		c := alex.NewChecker(alex.WithPeriodicCheck(5*time.Second, 0, alex.Check{Name: "a", Check: check}), alex.WithPeriodicCheck(5*time.Second, 0, alex.Check{Name: "b", Check: check}))
		c.Start()
		// Until each check has run once its answer is 503.
		for patient := time.Now().Add(2 * patience); c.Check(ctx).Status != alex.StatusUp && time.Now().Before(patient); {
			time.Sleep(time.Millisecond)
		}
		return alex.NewHandler(c), func() error { c.Stop(); return nil }, nil
	},
	"hellofresh/health-go": func(_ context.Context, check func(context.Context) error) (http.Handler, func() error, error) {
		h, err := hello.New(hello.WithChecks(hello.Config{Name: "a", Timeout: time.Second, Check: check}, hello.Config{Name: "b", Timeout: time.Second, Check: check}))
		if err != nil {
			return nil, nil, err
		}
		return h.Handler(), nil, nil
	},
	"heptiolabs/healthcheck": func(_ context.Context, check func(context.Context) error) (http.Handler, func() error, error) {
		h := healthcheck.NewHandler()
		for _, name := range []string{"a", "b"} {
			h.AddReadinessCheck(name, func() error { return check(context.Background()) })
		}
		return http.HandlerFunc(h.ReadyEndpoint), nil, nil
	},
	"k8s.io/apiserver healthz": func(_ context.Context, check func(context.Context) error) (http.Handler, func() error, error) {
		mux := http.NewServeMux()
		var checks []healthz.HealthChecker
		for _, name := range []string{"a", "b"} {
			checks = append(checks, healthz.NamedCheck(name, func(r *http.Request) error { return check(r.Context()) }))
		}
		healthz.InstallPathHandler(mux, "/ready", checks...)
		return mux, nil, nil
	},
}

// healthOrder is the order of the rows; the first is compared with.
var healthOrder = []string{"heptiolabs/healthcheck", "pedro", "alexliesenfeld/health", "alexliesenfeld/health, periodic", "hellofresh/health-go", "k8s.io/apiserver healthz"}

// Health is the cost of a readiness probe, and how often it makes a check run.
func Health() []harness.Case {
	stacks := func(checkTime time.Duration) []harness.Stack {
		var list []harness.Stack
		for _, name := range healthOrder {
			list = append(list, harness.Stack{Name: name, Ours: name == "pedro", Open: func(ctx context.Context, p harness.Params) (*harness.Running, error) {
				return openHealth(ctx, name, checkTime, p)
			}})
		}
		return list
	}
	return []harness.Case{
		{
			Name:   "health/ready",
			About:  "A readiness probe in process, with two checks that cost nothing: the price of the library itself.",
			Params: []harness.Params{{Callers: 1}},
			Stacks: stacks(0),
		},
		{
			Name:   "health/ready-5ms",
			About:  "The same with two checks of 5 ms each, from 200 callers at once. The last column is how often a check ran for each request.",
			Params: []harness.Params{{Callers: 200}},
			Stacks: stacks(checkTime),
		},
	}
}

// writer is a ResponseWriter that counts.
type writer struct {
	header http.Header
	code   int
	bytes  int
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(code int) { w.code = code }

func (w *writer) Write(b []byte) (int, error) {
	w.bytes += len(b)
	return len(b), nil
}

func openHealth(ctx context.Context, name string, checkTime time.Duration, p harness.Params) (*harness.Running, error) {
	var runs atomic.Int64
	h, stop, err := healthStacks[name](ctx, func(context.Context) error {
		runs.Add(1)
		if checkTime > 0 {
			time.Sleep(checkTime)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// What a test makes anew for each request is made once for each caller, so
	// that what is measured is the library.
	callers := max(p.Callers, 1)
	writers := make([]writer, callers)
	requests := make([]*http.Request, callers)
	for i := range callers {
		writers[i].header = http.Header{}
		requests[i] = httptest.NewRequestWithContext(ctx, http.MethodGet, "/ready", http.NoBody)
	}
	burst := 0
	if checkTime == 0 {
		burst = 32
	}
	return &harness.Running{
		Do: func(_ context.Context, caller, _ int) error {
			w := &writers[caller]
			clear(w.header)
			w.code, w.bytes = http.StatusOK, 0
			h.ServeHTTP(w, requests[caller])
			if w.code != http.StatusOK || w.bytes == 0 {
				return fmt.Errorf("status %d and %d bytes", w.code, w.bytes)
			}
			return nil
		},
		Burst:    burst,
		Counters: func() map[string]float64 { return map[string]float64{"check runs": float64(runs.Load())} },
		Close:    stop,
	}, nil
}

// A HealthFault is what a probe does when a check misbehaves.
type HealthFault struct {
	Stack, Fault string
	Answer       string        // of the probes
	Slowest      time.Duration // of the probes
	Runs         int64         // of the check
}

// HealthFaults probes each library four times, one after the other, with a
// check that hangs and with one that panics. A library that lets the panic end
// the process would end this one: that is tried in a goroutine of which the
// panic is caught, as net/http does for a handler.
func HealthFaults(ctx context.Context) []HealthFault {
	var list []HealthFault
	for _, fault := range []string{"a check hangs", "a check panics"} {
		for _, name := range healthOrder {
			list = append(list, healthFault(ctx, name, fault))
		}
	}
	return list
}

// patience is how long a probe is waited for: the kubelet's second, and one.
const patience = 2 * time.Second

func healthFault(ctx context.Context, name, fault string) HealthFault {
	f := HealthFault{Stack: name, Fault: fault}
	release := make(chan struct{})
	defer close(release)
	var runs atomic.Int64
	h, stop, err := healthStacks[name](ctx, func(context.Context) error {
		runs.Add(1)
		if fault == "a check hangs" {
			<-release
			return nil
		}
		if panicsEndTheProcess[name] {
			return errors.New("not tried")
		}
		panic("boom")
	})
	if err != nil {
		f.Answer = err.Error()
		return f
	}
	if fault == "a check panics" && panicsEndTheProcess[name] {
		f.Answer = "the process ends (not tried again here)"
		return f
	}
	for range 4 {
		began := time.Now()
		answer := probe(h)
		if f.Answer == "" || f.Answer == answer {
			f.Answer = answer
		} else {
			f.Answer += ", " + answer
		}
		f.Slowest = max(f.Slowest, time.Since(began))
	}
	f.Runs = runs.Load()
	if stop != nil {
		go func() { _ = stop() }() // some wait for the check that hangs
	}
	return f
}

// panicsEndTheProcess lists those that run a check on a goroutine of their own
// and do not recover: the process exits with status 2.
var panicsEndTheProcess = map[string]bool{"hellofresh/health-go": true}

func probe(h http.Handler) string {
	answer := make(chan string, 1)
	go func() {
		defer func() {
			if recover() != nil {
				answer <- "connection cut"
			}
		}()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ready", http.NoBody))
		answer <- fmt.Sprint(w.Code)
	}()
	select {
	case s := <-answer:
		return s
	case <-time.After(patience):
		return "no answer"
	}
}
