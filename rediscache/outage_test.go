package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// outage is what 32 callers saw.
type outage struct {
	calls, failed atomic.Int64
	slowest       atomic.Int64
	lastError     atomic.Int64 // when, since the epoch of the run
	loadErrors    atomic.Int64
	stood         atomic.Int64 // the longest that this process itself did not get to run
	firstErr      atomic.Pointer[error]
}

// under runs 32 callers of Get and Load while fault runs.
func under(t *testing.T, c *rediscache.Cache, fault func()) *outage {
	t.Helper()
	users := rediscache.Of[user](c, "user")
	ctx := t.Context()
	for i := range 100 {
		eventually(t, "set up", func() bool { return users.Set(ctx, fmt.Sprint(i), user{ID: i}) == nil })
	}
	var o outage
	began := time.Now()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for last := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			storeMax(&o.stood, int64(time.Since(last)))
			last = time.Now()
		}
	})
	for i := range 32 {
		wg.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				key := fmt.Sprint(n % 100)
				call := time.Now()
				var err error
				if n%2 == 0 {
					_, err = users.Get(ctx, key)
					if errors.Is(err, rediscache.ErrNotFound) {
						err = nil
					}
				} else {
					_, err = users.Load(ctx, key, func(context.Context, string) (user, error) { return user{ID: n % 100}, nil })
					if err != nil {
						o.loadErrors.Add(1)
						o.firstErr.CompareAndSwap(nil, &err)
					}
				}
				o.calls.Add(1)
				storeMax(&o.slowest, int64(time.Since(call)))
				if err != nil {
					o.failed.Add(1)
					o.lastError.Store(int64(time.Since(began)))
				}
			}
		})
	}
	fault()
	close(stop)
	wg.Wait()
	return &o
}

// String is what goes to docs/reliability.md.
func (o *outage) String() string {
	return fmt.Sprintf("%d calls, %d failed, slowest %v (the process itself stood still for up to %v)",
		o.calls.Load(), o.failed.Load(), time.Duration(o.slowest.Load()), time.Duration(o.stood.Load()))
}

// bounded fails the test if a call took longer than the promise allows. The
// promise is 250 ms; the race detector and a busy machine get a margin, and what
// this process was not given to run is not the call's.
func (o *outage) bounded(t *testing.T) {
	t.Helper()
	if slowest := time.Duration(o.slowest.Load() - o.stood.Load()); slowest > 250*time.Millisecond*margin {
		t.Errorf("the slowest call took %v, want at most 250 ms", slowest)
	}
}

func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	alone(t)
	testOutage(t, func(s server) error { return s.Kill() }, func(s server) error { return s.Restart(context.Background()) })
}

func TestHangUnderLoad(t *testing.T) {
	t.Parallel()
	alone(t)
	testOutage(t, func(s server) error { return s.Pause() }, func(s server) error { return s.Resume() })
}

type server interface {
	Kill() error
	Pause() error
	Resume() error
	Restart(ctx context.Context) error
}

func testOutage(t *testing.T, begin, end func(s server) error) {
	t.Helper()
	s := rediscachetest.StartServer(t)
	c := open(t, rediscache.Config{URL: s.URL(), Required: true, Timeout: rediscache.DefaultTimeout})
	var back time.Duration
	var answers time.Time
	beside := startPeer(t, plainClient(t, s.URL()))
	o := under(t, c, func() {
		pause(t, 300*time.Millisecond)
		if err := begin(s); err != nil {
			t.Error(err)
		}
		pause(t, 3*time.Second)
		if err := end(s); err != nil {
			t.Error(err)
		}
		answers = time.Now()
		eventually(t, "back", func() bool { return c.Redis().Ping(t.Context()).Err() == nil })
		back = time.Since(answers)
		pause(t, 300*time.Millisecond)
	})
	t.Logf("%v, back after %v", o, back)
	t.Log(beside.since(answers))
	if n := o.loadErrors.Load(); n > 0 {
		t.Errorf("%d loads failed, want 0; the first: %v", n, *o.firstErr.Load())
	}
	o.bounded(t)
	if back > 250*time.Millisecond*margin {
		t.Errorf("back %v after the server, want 250 ms at most", back)
	}
	if o.failed.Load() == 0 {
		t.Error("no call failed: the fault did not happen")
	}
}

// A peer is four callers of go-redis with its defaults, who meet the same fault.
type peer struct {
	calls, failed, slowest atomic.Int64
	lastFailure            atomic.Int64 // ns since 1970
	stop                   func()
}

// startPeer has them read what the callers of under read. The client is closed
// when they stop.
func startPeer(t *testing.T, client redis.UniversalClient) *peer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var p peer
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				began := time.Now()
				err := client.Get(context.Background(), fmt.Sprint("user:", n%100)).Err()
				p.calls.Add(1)
				storeMax(&p.slowest, int64(time.Since(began)))
				if err != nil && !errors.Is(err, redis.Nil) {
					p.failed.Add(1)
					storeMax(&p.lastFailure, time.Now().UnixNano())
				}
				pause(t, time.Millisecond)
			}
		})
	}
	p.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		_ = client.Close()
	})
	t.Cleanup(p.stop)
	return &p
}

// since tells what the peer saw, and for how long after a moment.
func (p *peer) since(back time.Time) string {
	p.stop()
	after := max(0, time.Unix(0, p.lastFailure.Load()).Sub(back))
	return fmt.Sprintf("raw go-redis beside it: %d calls, %d failed, slowest %v, the last failure %v after the return",
		p.calls.Load(), p.failed.Load(), time.Duration(p.slowest.Load()), after)
}

// plainClient is go-redis with its defaults.
func plainClient(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return redis.NewClient(opt)
}

// storeMax keeps the larger of what is there and v.
func storeMax(to *atomic.Int64, v int64) {
	for old := to.Load(); v > old && !to.CompareAndSwap(old, v); old = to.Load() {
	}
}

// margin widens the bounds of time for a busy machine.
const margin = 3

// pause lets real time pass while real processes do something. It is no wait
// for a condition.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// A full server takes no new value, and must not go on serving the old one.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	c, beside := open(t, rediscache.Config{URL: url, Required: true}), plainClient(t, url)
	defer beside.Close()
	n := rediscache.Of[int](c, "n", rediscache.Near(10))
	if err := errors.Join(n.Set(ctx, "k", 1), beside.Set(ctx, "raw", 1, 0).Err()); err != nil {
		t.Fatal(err)
	}
	if err := c.Redis().ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := n.Set(ctx, "k", 2); !redis.IsOOMError(err) || errors.Is(err, rediscache.ErrUnavailable) {
		t.Errorf("Set in a full server = %v, want the OOM error, and no outage", err)
	}
	if v, err := n.Get(ctx, "k"); err == nil {
		t.Errorf("Get after the failed Set = %d, want nothing", v)
	}
	told := time.Since(began)
	eventually(t, "the old value is deleted", func() bool { return c.Redis().Exists(ctx, "n:k").Val() == 0 })
	t.Logf("the error came within %v, and the old value was gone everywhere after %v", told, time.Since(began))
	if err := beside.Set(ctx, "raw", 2, 0).Err(); err == nil {
		t.Error("a full server took a value")
	}
	t.Logf("raw go-redis beside it, after the same error, reads %q, which is the old value", beside.Get(ctx, "raw").Val())
	if s := c.State(); s != rediscache.StateUp {
		t.Errorf("State = %v, want up", s)
	}
}
