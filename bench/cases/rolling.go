package cases

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pedro-go/pedro/bench/harness"
	"github.com/pedro-go/pedro/internal/histogram"
)

const (
	rollingInstances = 2
	rollingRestarts  = 6
	rollingCallers   = 16
	probeEvery       = 50 * time.Millisecond
	lostCounter      = "lost of 100,000"
)

// Rolling is what a deployment loses.
func Rolling() harness.Case {
	c := harness.Case{
		Name: "lifecycle/rolling-restart",
		About: "Two instances behind a balancer that asks each every 50 ms whether it is ready, spreads POST requests of 2 ms over keep-alive connections, and repeats none. " +
			"Each restart starts a new instance, waits until it serves, and sends SIGTERM to an old one; n restarts in one round. " +
			"A request is lost that gets no answer, or another than 200. The delay is 300 ms.",
		Params: []harness.Params{{Callers: rollingCallers, N: rollingRestarts}},
		Long:   1,
	}
	for _, s := range []struct{ role, name string }{
		{"shutdown", "http.Server.Shutdown"},
		{"shutdown-delayed", "not ready, a delay, http.Server.Shutdown"},
		{"pedro", "pedro"},
	} {
		c.Stacks = append(c.Stacks, harness.Stack{Name: s.name, Ours: s.role == "pedro", Open: func(ctx context.Context, p harness.Params) (*harness.Running, error) {
			b := newBalancer(s.role)
			for range rollingInstances {
				if err := b.start(ctx); err != nil {
					return nil, b.close(err)
				}
			}
			return &harness.Running{
				Slice: func(ctx context.Context, callers int, _ time.Duration) (harness.Sample, error) {
					return b.roll(ctx, callers, p.N)
				},
				Counters: func() map[string]float64 { return map[string]float64{lostCounter: 1e5 * float64(b.lost.Load())} },
				Usage: func() (harness.Usage, error) { // of processes that are gone
					return harness.Usage{Allocs: math.NaN(), Bytes: math.NaN()}, nil
				},
				Close: func() error { return b.close(nil) },
			}, nil
		}})
	}
	return c
}

// balancer sends each request to one of the instances that said that they are
// ready.
type balancer struct {
	role   string
	client *http.Client
	probes *http.Client
	stop   chan struct{}
	done   sync.WaitGroup
	turn   atomic.Int64
	lost   atomic.Int64

	mu   sync.Mutex
	list []*instance
}

type instance struct {
	*child
	ready atomic.Bool
}

func newBalancer(role string) *balancer {
	b := &balancer{
		role:   role,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: rollingCallers}, Timeout: stopLimit},
		probes: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second},
		stop:   make(chan struct{}),
	}
	b.done.Go(func() {
		for {
			select {
			case <-b.stop:
				return
			case <-time.After(probeEvery):
				for _, i := range b.instances() {
					i.ready.Store(b.probe(i.child.ready))
				}
			}
		}
	})
	return b
}

func (b *balancer) instances() []*instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.list)
}

func (b *balancer) probe(addr string) bool {
	resp, err := b.probes.Get("http://" + addr + "/health/ready")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// start adds an instance, and returns when requests go to it.
func (b *balancer) start(ctx context.Context) error {
	c, err := startRole(ctx, "instance", "BENCH_INSTANCE="+b.role)
	if err != nil {
		return err
	}
	i := &instance{child: c}
	b.mu.Lock()
	b.list = append(b.list, i)
	b.mu.Unlock()
	for patient := time.Now().Add(stopLimit); !i.ready.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(patient) {
			return fmt.Errorf("%s: the instance is not ready", b.role)
		}
	}
	return nil
}

// retire ends the oldest instance as a deployment does: nobody tells the
// balancer.
func (b *balancer) retire() error {
	old := b.instances()[0]
	if err := old.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	t := time.AfterFunc(2*stopLimit, func() { _ = old.cmd.Process.Kill() })
	defer t.Stop()
	err := old.cmd.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = b.list[1:]
	return err
}

// roll restarts instances under load.
func (b *balancer) roll(ctx context.Context, callers, restarts int) (harness.Sample, error) {
	var h histogram.Histogram
	var answered, wrong atomic.Int64
	over := make(chan struct{})
	var load sync.WaitGroup
	began := time.Now()
	for caller := range callers {
		load.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				start := time.Now()
				want := strconv.Itoa(caller) + "-" + strconv.Itoa(i)
				switch got, ok := b.send(want); {
				case !ok:
					b.lost.Add(1)
				case got != want:
					wrong.Add(1)
				default:
					answered.Add(1)
					h.Observe(time.Since(start))
				}
			}
		})
	}
	var err error
	for range restarts {
		if err = b.start(ctx); err != nil {
			break
		}
		if err = b.retire(); err != nil {
			break
		}
	}
	close(over)
	load.Wait()
	if n := wrong.Load(); err == nil && n > 0 {
		err = fmt.Errorf("%w: of %d requests", errWrong, n)
	}
	latency := h.Snapshot()
	return harness.Sample{
		Units: float64(answered.Load() + b.lost.Load()), Elapsed: time.Since(began),
		P50: latency.Quantile(0.5), P99: latency.Quantile(0.99),
	}, err
}

// send posts to the next instance that is ready.
func (b *balancer) send(body string) (string, bool) {
	var ready []*instance
	for _, i := range b.instances() {
		if i.ready.Load() {
			ready = append(ready, i)
		}
	}
	if len(ready) == 0 {
		time.Sleep(time.Millisecond) // or it would be counted a million times
		return "", false
	}
	to := ready[int(b.turn.Add(1))%len(ready)]
	resp, err := b.client.Post("http://"+to.child.ready+"/work", "text/plain", strings.NewReader(body))
	if err != nil {
		return "", false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err == nil && resp.StatusCode == http.StatusOK
}

// close ends what is left, and passes an error on.
func (b *balancer) close(err error) error {
	close(b.stop)
	b.done.Wait()
	b.client.CloseIdleConnections()
	for _, i := range b.instances() {
		i.close()
	}
	return err
}
