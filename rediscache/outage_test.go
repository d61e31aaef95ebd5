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
				took := int64(time.Since(call))
				for old := o.slowest.Load(); took > old && !o.slowest.CompareAndSwap(old, took); old = o.slowest.Load() {
				}
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
	beside := startRaw(t, s.URL())
	o := under(t, c, func() {
		pause(t, 300*time.Millisecond)
		if err := begin(s); err != nil {
			t.Error(err)
		}
		pause(t, 3*time.Second)
		if err := end(s); err != nil {
			t.Error(err)
		}
		answers := time.Now()
		eventually(t, "back", func() bool { return c.Redis().Ping(t.Context()).Err() == nil })
		back = time.Since(answers)
		pause(t, 300*time.Millisecond)
	})
	t.Logf("%d calls, %d failed, slowest %v, back after %v; raw go-redis beside it: slowest %v",
		o.calls.Load(), o.failed.Load(), time.Duration(o.slowest.Load()), back, beside())
	if n := o.loadErrors.Load(); n > 0 {
		t.Errorf("%d loads failed, want 0; the first: %v", n, *o.firstErr.Load())
	}
	// 250 ms is the promise; the race detector and a busy machine get a margin.
	if slowest := time.Duration(o.slowest.Load()); slowest > 250*time.Millisecond*margin {
		t.Errorf("the slowest call took %v, want at most 250 ms", slowest)
	}
	if back > 250*time.Millisecond*margin {
		t.Errorf("back %v after the server, want 250 ms at most", back)
	}
	if o.failed.Load() == 0 {
		t.Error("no call failed: the fault did not happen")
	}
}

// startRaw has callers of go-redis with its defaults run beside, and returns
// what stops them and tells how long the slowest call took.
func startRaw(t *testing.T, url string) (stop func() time.Duration) {
	t.Helper()
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opt)
	ctx, cancel := context.WithCancel(t.Context())
	var slowest atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				_ = client.Get(context.Background(), "user:1").Err()
				took := int64(time.Since(began))
				for old := slowest.Load(); took > old && !slowest.CompareAndSwap(old, took); old = slowest.Load() {
				}
				pause(t, time.Millisecond)
			}
		})
	}
	return func() time.Duration {
		cancel()
		wg.Wait()
		_ = client.Close()
		return time.Duration(slowest.Load())
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
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[int](c, "n", rediscache.Near(10))
	if err := n.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	if err := c.Redis().ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := n.Set(ctx, "k", 2); !redis.IsOOMError(err) || errors.Is(err, rediscache.ErrUnavailable) {
		t.Errorf("Set in a full server = %v, want the OOM error, and no outage", err)
	}
	if v, err := n.Get(ctx, "k"); err == nil {
		t.Errorf("Get after the failed Set = %d, want nothing", v)
	}
	eventually(t, "the old value is deleted", func() bool { return c.Redis().Exists(ctx, "n:k").Val() == 0 })
	if s := c.State(); s != rediscache.StateUp {
		t.Errorf("State = %v, want up", s)
	}
}
