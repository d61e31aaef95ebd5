package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache"
)

func TestNamespace(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	users := rediscache.Of[user](c, "user", rediscache.TTL(time.Minute))
	if _, err := users.Get(ctx, "1"); !errors.Is(err, rediscache.ErrNotFound) {
		t.Errorf("Get of nothing = %v, want ErrNotFound", err)
	}
	want := user{ID: 1, Name: "Ana"}
	if err := users.Set(ctx, "1", want); err != nil {
		t.Fatal(err)
	}
	if got, err := users.Get(ctx, "1"); err != nil || got.Name != "Ana" {
		t.Errorf("Get = %v and %v, want %v", got, err, want)
	}
	if ttl := c.Redis().PTTL(ctx, "user:1").Val(); ttl < 53*time.Second || ttl > time.Minute {
		t.Errorf("TTL = %v, want a minute less up to 10 %%", ttl)
	}
	if err := users.Del(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := users.Get(ctx, "1"); !errors.Is(err, rediscache.ErrNotFound) {
		t.Errorf("Get after Del = %v, want ErrNotFound", err)
	}
}

func TestLoadStampede(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	users := rediscache.Of[user](c, "user")
	var loads atomic.Int32
	load := func(context.Context, string) (user, error) {
		loads.Add(1)
		time.Sleep(20 * time.Millisecond) // a query's time
		return user{ID: 7}, nil
	}
	var wg sync.WaitGroup
	for range 1_000 {
		wg.Go(func() {
			if u, err := users.Load(ctx, "7", load); err != nil || u.ID != 7 {
				t.Errorf("Load = %v and %v", u, err)
			}
		})
	}
	wg.Wait()
	if got := loads.Load(); got != 1 {
		t.Errorf("1000 goroutines made %d loads, want 1", got)
	}
}

func TestLoadIsolatesCallers(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	users := rediscache.Of[user](c, "user")
	entered, release := make(chan struct{}), make(chan struct{})
	load := func(ctx context.Context, _ string) (user, error) {
		close(entered)
		select {
		case <-release:
			return user{ID: 1}, nil
		case <-ctx.Done():
			return user{}, ctx.Err()
		}
	}
	first, cancel := context.WithCancel(t.Context())
	firstErr := make(chan error, 1)
	go func() {
		_, err := users.Load(first, "1", load)
		firstErr <- err
	}()
	<-entered
	others := make(chan error, 50)
	for range 50 {
		go func() {
			u, err := users.Load(t.Context(), "1", load)
			if err == nil && u.ID != 1 {
				err = fmt.Errorf("got %v", u)
			}
			others <- err
		}()
	}
	cancel()
	if err := <-firstErr; !errors.Is(err, context.Canceled) {
		t.Errorf("the canceled caller got %v, want context.Canceled", err)
	}
	close(release)
	for range 50 {
		if err := <-others; err != nil {
			t.Errorf("another caller got %v, want the value", err)
		}
	}
}

func TestLoadPanic(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	users := rediscache.Of[user](c, "user")
	_, err := users.Load(t.Context(), "1", func(context.Context, string) (user, error) { panic("boom") })
	if p, ok := errors.AsType[*rediscache.PanicError](err); !ok || p.Value != "boom" || !errors.Is(err, rediscache.ErrLoaderPanic) {
		t.Errorf("Load = %v, want a PanicError with its value", err)
	}
	if u, err := users.Load(t.Context(), "1", func(context.Context, string) (user, error) { return user{ID: 2}, nil }); err != nil || u.ID != 2 {
		t.Errorf("the Load after = %v and %v, want its value", u, err)
	}
}

// What is changed while a load runs must not be undone by its result.
func TestLoadDoesNotWriteBackOldValue(t *testing.T) {
	t.Parallel()
	url := fresh(t).Config().URL
	for name, change := range map[string]func(ctx context.Context, n *rediscache.Namespace[user]) error{
		"del": func(ctx context.Context, n *rediscache.Namespace[user]) error { return n.Del(ctx, "1") },
		"set": func(ctx context.Context, n *rediscache.Namespace[user]) error {
			return n.Set(ctx, "1", user{ID: 2})
		},
	} {
		for _, where := range []string{"same process", "other process"} {
			t.Run(name+" in "+where, func(t *testing.T) {
				t.Parallel()
				ns := fmt.Sprintf("%s-%s", name, where[:4])
				cfg := rediscache.Config{URL: url}
				here := rediscache.Of[user](open(t, cfg), ns)
				there := here
				if where == "other process" {
					there = rediscache.Of[user](open(t, cfg), ns)
				}
				entered, release := make(chan struct{}), make(chan struct{})
				done := make(chan error, 1)
				go func() {
					_, err := here.Load(t.Context(), "1", func(context.Context, string) (user, error) {
						close(entered)
						<-release
						return user{ID: 1}, nil // read before the change
					})
					done <- err
				}()
				<-entered
				if err := change(t.Context(), there); err != nil {
					t.Fatal(err)
				}
				close(release)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if u, err := here.Get(t.Context(), "1"); err == nil && u.ID == 1 {
					t.Error("the old value was written back")
				}
				u, err := here.Load(t.Context(), "1", func(context.Context, string) (user, error) { return user{ID: 2}, nil })
				if err != nil || u.ID != 2 {
					t.Errorf("Load after the change = %v and %v, want the new value", u, err)
				}
				if u, err := here.Get(t.Context(), "1"); err != nil || u.ID != 2 {
					t.Errorf("Get = %v and %v, want the new value stored", u, err)
				}
			})
		}
	}
}

func TestLoadNegative(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	users := rediscache.Of[user](c, "user", rediscache.NegativeTTL(time.Minute))
	var loads int
	load := func(context.Context, string) (user, error) {
		loads++
		return user{}, fmt.Errorf("no row: %w", rediscache.ErrNotFound)
	}
	for range 3 {
		if _, err := users.Load(t.Context(), "1", load); !errors.Is(err, rediscache.ErrNotFound) {
			t.Errorf("Load = %v, want ErrNotFound", err)
		}
	}
	if loads != 1 {
		t.Errorf("%d loads, want 1", loads)
	}
	if err := users.Set(t.Context(), "1", user{ID: 1}); err != nil {
		t.Fatal(err)
	}
	if u, err := users.Load(t.Context(), "1", load); err != nil || u.ID != 1 {
		t.Errorf("Load after Set = %v and %v, want the value", u, err)
	}
}

func TestLoadStale(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	broken := errors.New("database away")
	fail := func(context.Context, string) (user, error) { return user{}, broken }
	good := func(id int) func(context.Context, string) (user, error) {
		return func(context.Context, string) (user, error) { return user{ID: id}, nil }
	}
	opts := []rediscache.NamespaceOption{rediscache.TTL(20 * time.Millisecond), rediscache.Jitter(0)}
	// expired waits until Get no longer returns the first value.
	expired := func(n *rediscache.Namespace[user]) {
		eventually(t, "stale", func() bool {
			_, err := n.Get(ctx, "1")
			return errors.Is(err, rediscache.ErrNotFound)
		})
	}

	onError := rediscache.Of[user](c, "onerror", append(opts, rediscache.StaleOnError(time.Minute))...)
	if _, err := onError.Load(ctx, "1", good(1)); err != nil {
		t.Fatal(err)
	}
	expired(onError)
	if u, err := onError.Load(ctx, "1", fail); err != nil || u.ID != 1 {
		t.Errorf("StaleOnError: Load = %v and %v, want the stale value", u, err)
	}
	if _, err := onError.Load(ctx, "2", fail); !errors.Is(err, broken) {
		t.Errorf("Load without anything stale = %v, want the loader's error", err)
	}

	staleFor := rediscache.Of[user](c, "stalefor", append(opts, rediscache.StaleFor(time.Minute))...)
	if _, err := staleFor.Load(ctx, "1", good(1)); err != nil {
		t.Fatal(err)
	}
	expired(staleFor)
	release := make(chan struct{})
	u, err := staleFor.Load(ctx, "1", func(context.Context, string) (user, error) { <-release; return user{ID: 2}, nil }, rediscache.TTL(time.Minute))
	if err != nil || u.ID != 1 {
		t.Errorf("StaleFor: Load = %v and %v, want the stale value at once", u, err)
	}
	close(release)
	eventually(t, "refreshed", func() bool { u, _ := staleFor.Get(ctx, "1"); return u.ID == 2 })

	soft := rediscache.Of[user](c, "soft", append(opts, rediscache.StaleOnError(time.Minute), rediscache.SoftTimeout(10*time.Millisecond))...)
	if _, err := soft.Load(ctx, "1", good(1)); err != nil {
		t.Fatal(err)
	}
	expired(soft)
	release = make(chan struct{})
	u, err = soft.Load(ctx, "1", func(context.Context, string) (user, error) { <-release; return user{ID: 2}, nil }, rediscache.TTL(time.Minute))
	if err != nil || u.ID != 1 {
		t.Errorf("SoftTimeout: Load = %v and %v, want the stale value", u, err)
	}
	close(release)
	eventually(t, "loaded behind", func() bool { u, _ := soft.Get(ctx, "1"); return u.ID == 2 })

	early := rediscache.Of[user](c, "early", rediscache.TTL(time.Hour), rediscache.EarlyRefresh(0))
	if _, err := early.Load(ctx, "1", good(1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refreshed early", func() bool {
		u, err := early.Load(ctx, "1", good(2), rediscache.EarlyRefresh(1e-6))
		return err == nil && u.ID == 2
	})
}

func TestLoadExclusive(t *testing.T) {
	t.Parallel()
	url := fresh(t).Config().URL
	var loads atomic.Int32
	load := func(context.Context, string) (user, error) {
		loads.Add(1)
		time.Sleep(50 * time.Millisecond) // a query's time
		return user{ID: 1}, nil
	}
	var wg sync.WaitGroup
	for range 4 {
		users := rediscache.Of[user](open(t, rediscache.Config{URL: url}), "user", rediscache.Exclusive())
		for range 10 {
			wg.Go(func() {
				if u, err := users.Load(t.Context(), "1", load); err != nil || u.ID != 1 {
					t.Errorf("Load = %v and %v", u, err)
				}
			})
		}
	}
	wg.Wait()
	if got := loads.Load(); got != 1 {
		t.Errorf("4 caches made %d loads, want 1", got)
	}
	c := open(t, rediscache.Config{URL: url})
	eventually(t, "no lease left", func() bool { return c.Redis().Exists(t.Context(), "pedro:lease:user:1").Val() == 0 })
}
