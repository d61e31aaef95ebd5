package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache"
)

// busy has so many calls under way, until the returned function is called, that
// further ones share a batch, and holds those that hold is for.
func busy(t *testing.T, hold func(cmd redis.Cmder) bool) (c *rediscache.Cache, start, end func()) {
	t.Helper()
	var mu sync.Mutex
	var holding chan struct{}
	c = fresh(t, rediscache.WithHook(holdHook{hold: func(cmds []redis.Cmder) error {
		mu.Lock()
		wait := holding
		mu.Unlock()
		if wait != nil && hold(cmds[0]) {
			<-wait
		}
		return nil
	}}))
	var others sync.WaitGroup
	start = func() {
		mu.Lock()
		holding = make(chan struct{})
		mu.Unlock()
		for i := range 3 { // the next call shares
			others.Go(func() {
				var v int
				_ = c.Get(t.Context(), fmt.Sprint("other", i), &v)
			})
		}
		eventually(t, "three calls are under way", func() bool { return rediscache.Calls(c) == 3 })
	}
	end = func() {
		mu.Lock()
		close(holding)
		holding = nil
		mu.Unlock()
		others.Wait()
	}
	return c, start, end
}

// TestDelCancelledWithCause: a Del that did not happen, because its context had
// ended, is made up for, whatever the cause: with errgroup it is the error of
// another goroutine.
func TestDelCancelledWithCause(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]error{"other": errors.New("another goroutine failed"), "redis.Nil": redis.Nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, start, end := busy(t, func(cmd redis.Cmder) bool { return cmd.Name() == "get" })
			n, ctx := rediscache.Of[int](c, "n"), t.Context()
			if err := n.Set(ctx, "k", 1); err != nil {
				t.Fatal(err)
			}
			start()
			gone, cancel := context.WithCancelCause(ctx)
			cancel(cause)
			err := n.Del(gone, "k")
			end()
			if !errors.Is(err, cause) || c.Stats().Remembered != 1 {
				t.Errorf("Del = %v, Remembered %d; want the cause, and 1", err, c.Stats().Remembered)
			}
			eventually(t, "the key is deleted", func() bool { return c.Stats().Replayed == 1 })
			if v, err := n.Get(ctx, "k"); !errors.Is(err, rediscache.ErrNotFound) {
				t.Errorf("then Get = %d, %v", v, err)
			}
		})
	}
}

// TestSetAbandonedWithCause: the same for a Set that is in a batch already, and
// may land later.
func TestSetAbandonedWithCause(t *testing.T) {
	t.Parallel()
	c, start, end := busy(t, func(cmd redis.Cmder) bool { return cmd.Args()[1] == "n:k" || cmd.Name() == "get" })
	n := rediscache.Of[int](c, "n")
	if err := n.Set(t.Context(), "k", 1); err != nil {
		t.Fatal(err)
	}
	start()
	gone, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() { done <- n.Set(gone, "k", 2) }()
	eventually(t, "the Set is under way", func() bool { return rediscache.Calls(c) == 4 })
	cause := errors.New("too slow for us")
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) || c.Stats().Remembered != 1 {
		t.Errorf("Set = %v, Remembered %d; want the cause, and 1", err, c.Stats().Remembered)
	}
	end()
	eventually(t, "the key is deleted", func() bool { return c.Stats().Replayed == 1 })
}

// TestDelRefused: Redis is there and takes no writes for a while. What could not
// be deleted is not served, and is deleted as soon as it can be.
func TestDelRefused(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[int](c, "n")
	err := errors.Join(n.Set(ctx, "k", 1), c.Redis().ConfigSet(ctx, "min-replicas-to-write", "1").Err())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Del(ctx, "k"); !redis.HasErrorPrefix(err, "NOREPLICAS") {
		t.Errorf("Del = %v, want NOREPLICAS", err)
	}
	if v, err := n.Get(ctx, "k"); !errors.Is(err, rediscache.ErrNotFound) {
		t.Errorf("Get = %d, %v, want not found", v, err)
	}
	if err := c.Redis().ConfigSet(ctx, "min-replicas-to-write", "0").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key is deleted", func() bool { return c.Stats().Replayed == 1 })
	if v, err := n.Get(ctx, "k"); !errors.Is(err, rediscache.ErrNotFound) {
		t.Errorf("when Redis takes writes again: Get = %d, %v, want not found", v, err)
	}
}
