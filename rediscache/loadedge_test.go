package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// TestLoaderEndsItsGoroutine: as t.FailNow does; others who wait get an error.
func TestLoaderEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	n := rediscache.Of[int](c, "n", rediscache.LoadTimeout(time.Second))
	for i := range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := n.Load(ctx, "k", func(context.Context, string) (int, error) {
			if i == 0 {
				runtime.Goexit() // as t.FailNow does
			}
			return 1, nil
		})
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Load %d hung for 3 s beside a LoadTimeout of 1 s: %v", i, err)
		}
	}
}

// TestLoadManySoftTimeout: as for Load, a stale value is better than a late
// one.
func TestLoadManySoftTimeout(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[int](c, "n", rediscache.TTL(20*time.Millisecond), rediscache.Jitter(0), rediscache.StaleOnError(time.Minute), rediscache.SoftTimeout(50*time.Millisecond))
	if err := n.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	pause(t, 40*time.Millisecond)
	began := time.Now()
	got, err := n.LoadMany(ctx, []string{"k"}, func(ctx context.Context, _ []string) (map[string]int, error) {
		time.Sleep(2 * time.Second)
		return map[string]int{"k": 2}, nil
	})
	if took := time.Since(began); took > time.Second {
		t.Errorf("LoadMany with SoftTimeout(50ms) and a stale value took %v = %v, %v", took, got, err)
	}
}

// TestLoadManyErrorPause: as for Load, after an error the loader is left alone
// for a while.
func TestLoadManyErrorPause(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[int](c, "n", rediscache.TTL(20*time.Millisecond), rediscache.Jitter(0), rediscache.StaleOnError(time.Minute))
	if err := n.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	pause(t, 40*time.Millisecond)
	calls := 0
	for range 5 {
		got, err := n.LoadMany(ctx, []string{"k"}, func(context.Context, []string) (map[string]int, error) {
			calls++
			return nil, errors.New("db away")
		})
		if err != nil || got["k"] != 1 {
			t.Fatalf("LoadMany = %v, %v", got, err)
		}
	}
	if calls != 1 {
		t.Errorf("the loader was called %d times within the error pause, want 1", calls)
	}
}

// TestEarlyRefreshBesideOthers: a refresh is done although loads of other keys
// ended meanwhile.
func TestEarlyRefreshBesideOthers(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	var armed atomic.Bool
	held, release := make(chan struct{}), make(chan struct{})
	c := open(t, rediscache.Config{URL: url, Required: true}, rediscache.WithHook(holdHook{hold: func(cmds []redis.Cmder) error {
		if cmds[0].Name() == "get" && cmds[0].Args()[1] == "n:k" && armed.CompareAndSwap(true, false) {
			close(held)
			<-release
		}
		return nil
	}}))
	n := rediscache.Of[int](c, "n", rediscache.EarlyRefresh(0.01), rediscache.TTL(10*time.Second), rediscache.Jitter(0))
	if err := n.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	pause(t, 300*time.Millisecond) // due
	var loads atomic.Int64
	load := func(_ context.Context, key string) (int, error) {
		if key == "k" {
			loads.Add(1)
		}
		return 2, nil
	}
	armed.Store(true)
	done := make(chan struct{})
	go func() { defer close(done); _, _ = n.Load(ctx, "k", load) }()
	<-held
	for i := range 200 {
		if _, err := n.Load(ctx, fmt.Sprint("other", i), load); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	<-done
	pause(t, 500*time.Millisecond)
	if loads.Load() == 0 {
		t.Errorf("the refresh that was due was not done; Refreshes = %d", n.Stats().Refreshes)
	}
}

// TestCodecPanics: on the goroutine of a load; its callers get an error.
func TestCodecPanics(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	codec := rediscache.Encoding("bad", func(any) ([]byte, error) { panic("odd value") }, func([]byte, any) error { return nil })
	n := rediscache.Of[int](c, "n", rediscache.WithCodec(codec))
	_, err := n.Load(ctx, "k", func(context.Context, string) (int, error) { return 1, nil })
	if _, ok := errors.AsType[*rediscache.PanicError](err); !ok {
		t.Errorf("got %v, want a PanicError", err)
	}
}

// TestTombstoneOutlastsLoad: a Del is heeded by a load that takes longer than
// the namespace allows.
func TestTombstoneOutlastsLoad(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	a := rediscache.Of[int](open(t, rediscache.Config{URL: url}), "n", rediscache.LoadTimeout(time.Millisecond))
	b := rediscache.Of[int](open(t, rediscache.Config{URL: url}), "n", rediscache.LoadTimeout(time.Millisecond))
	entered, done := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := a.Load(ctx, "k", func(context.Context, string) (int, error) {
			close(entered) // has read 1 from the database
			time.Sleep(12 * time.Second)
			return 1, nil
		}, rediscache.LoadTimeout(time.Minute))
		done <- err
	}()
	<-entered
	if err := b.Del(ctx, "k"); err != nil { // the database has 2 now
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	pause(t, 50*time.Millisecond)
	if v, err := b.Get(ctx, "k"); err == nil {
		t.Errorf("after Del, a load that began before it stored %d", v)
	}
}
