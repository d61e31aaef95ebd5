package chaos_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/examples/clinic/internal/rig"
	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

const (
	user     = "reception"
	password = "a password for the chaos"
	clients  = 12

	// regularSeed is that of the regular suite, which should judge a change and
	// not its luck; make chaos draws another each time.
	regularSeed = 1
)

// TestChaos is the whole of it.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	duration := 60 * time.Second
	if s := os.Getenv("CHAOS_DURATION"); s != "" {
		var err error
		if duration, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(regularSeed)
	if s, set := os.LookupEnv("CHAOS_SEED"); set {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			seed = mathrand.Uint64() % 1_000_000
		}
	}
	t.Logf("to run this again: CHAOS_SEED=%d CHAOS_DURATION=%s go test -race -count=1 -v ./examples/clinic/chaos", seed, duration)

	h := newHost(t)
	l := newLedger()
	atRest := h.process(t)

	ctx, stopLoad := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for n := range clients {
		c := newClient(t, h, l, n, mathrand.New(mathrand.NewPCG(seed, uint64(n))))
		wg.Go(func() { c.run(ctx) })
	}
	h.schedule(t, mathrand.New(mathrand.NewPCG(seed, 1<<32)), time.Now().Add(duration))
	stopLoad()
	wg.Wait()

	l.audit(t, h)
	after := h.process(t)
	t.Logf("acknowledged: %s", l)
	t.Logf("at rest and after: %.0f and %.0f goroutines, %.0f and %.0f MiB of heap on the busier instance", atRest.goroutines, after.goroutines, atRest.heap, after.heap)
	// What the pools and the keep-alive connections of the clients may hold.
	if after.goroutines > atRest.goroutines+300 || after.heap > atRest.heap+100 {
		t.Errorf("goroutines grew from %.0f to %.0f, the heap from %.0f to %.0f MiB", atRest.goroutines, after.goroutines, atRest.heap, after.heap)
	}
}

// host is the clinic with all that can fail around it.
type host struct {
	postgres  *devservices.Postgres
	redis     *devservices.Redis
	toPG      *faultproxy.Proxy
	toRedis   *faultproxy.Proxy
	instances [2]*rig.Instance
	front     *rig.Balancer

	postgresAway bool // of the schedule's goroutine: a fault makes the database unreachable

	redisFaults atomic.Int64 // how often Redis began or ceased to be at fault: odd while it is
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{postgres: pgpooltest.StartServer(t), redis: rediscachetest.StartServer(t, devservices.WithAppendOnly())}
	h.toPG = faultproxy.Start(t, h.postgres.Addr())
	h.toRedis = faultproxy.Start(t, h.redis.Addr())
	dir := t.TempDir()
	program, err := rig.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"DATABASE_URL=" + h.toPG.URL(h.postgres.URL()), "REDIS_URL=" + h.toRedis.URL(h.redis.URL()), "SESSION_SECRET=" + rand.Text() + rand.Text(),
		"CLINIC_USER=" + user, "CLINIC_PASSWORD=" + password, "DRAIN_DELAY=1s", "DB_QUERY_TIMEOUT=10s",
	}
	for i, name := range []string{"A", "B"} {
		if h.instances[i], err = rig.NewInstance(program, dir, name, env...); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("the log of %s ends with:\n%s", name, h.instances[i].Log())
			}
			_ = h.instances[i].Close()
		})
		h.start(t, i)
	}
	if h.front, err = rig.NewBalancer(100*time.Millisecond, true, h.instances[:]...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.front.Close() })
	return h
}

func (h *host) start(t *testing.T, i int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := h.instances[i].Start(ctx); err != nil {
		t.Fatal(err)
	}
}

// page is what the clinic tells of itself.
type page struct {
	Status   string
	Services map[string]struct {
		Status string
		Gauges []struct {
			Name  string
			Value float64
		}
	}
}

type process struct{ goroutines, heap float64 }

// process returns the numbers of the busier instance.
func (h *host) process(t *testing.T) process {
	t.Helper()
	var p process
	for _, i := range h.instances {
		c := rig.NewClient(i.URL)
		var v page
		err := errors.Join(c.Login(t.Context(), user, password),
			c.Expect(t.Context(), http.StatusOK, http.MethodGet, "/api/health/detailed/process", nil, &v))
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range v.Services["process"].Gauges {
			switch g.Name {
			case "goroutines":
				p.goroutines = max(p.goroutines, g.Value)
			case "heap":
				p.heap = max(p.heap, g.Value)
			}
		}
	}
	return p
}

// health returns what each instance says of a check, "" if it does not answer.
func (h *host) health(ctx context.Context, check string) [2]string {
	var said [2]string
	for i, instance := range h.instances {
		c := rig.NewClient(instance.URL)
		r, err := c.Do(ctx, http.MethodGet, "/api/health/"+check, nil)
		c.Close()
		if err == nil {
			said[i] = fmt.Sprintf("%d %s", r.Status, r.Body)
		}
	}
	return said
}
