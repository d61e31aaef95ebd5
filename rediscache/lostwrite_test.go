package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

type holdHook struct {
	countHook
	hold func(cmds []redis.Cmder) error
}

func (h holdHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := h.hold([]redis.Cmder{cmd}); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

func (h holdHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := h.hold(cmds); err != nil {
			for _, c := range cmds {
				c.SetErr(err)
			}
			return err
		}
		return next(ctx, cmds)
	}
}

// TestFailedClearIsMadeUpFor: a Clear that fails alone, with nothing else to
// make up for.
func TestFailedClearIsMadeUpFor(t *testing.T) {
	t.Parallel()
	s, ctx := rediscachetest.StartServer(t), t.Context()
	a := open(t, rediscache.Config{URL: s.URL(), Required: true, Timeout: time.Second})
	b := open(t, rediscache.Config{URL: s.URL(), Required: true, Timeout: time.Second})
	na, nb := rediscache.Of[int](a, "n"), rediscache.Of[int](b, "n")
	if err := na.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Do(ctx, "REPLICAOF", "127.0.0.1", "1"); err != nil {
		t.Fatal(err)
	}
	err := na.Clear(ctx)
	if _, err := s.Do(ctx, "REPLICAOF", "NO", "ONE"); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Fatal("Clear on a replica succeeded")
	}
	if _, err := na.Get(ctx, "k"); !errors.Is(err, rediscache.ErrNotFound) {
		t.Errorf("own Get = %v", err)
	}
	for began := time.Now(); time.Since(began) < 3*time.Second; time.Sleep(20 * time.Millisecond) {
		if _, err := nb.Get(ctx, "k"); errors.Is(err, rediscache.ErrNotFound) {
			return
		}
	}
	t.Error("3 s after Redis is back the Clear has not reached the other process")
}

// TestReplaySparesLaterClear: a Clear that is made up for does not undo a later
// one of another process.
func TestReplaySparesLaterClear(t *testing.T) {
	t.Parallel()
	s, ctx := rediscachetest.StartServer(t), t.Context()
	a := open(t, rediscache.Config{URL: s.URL(), Required: true})
	b := open(t, rediscache.Config{URL: s.URL(), Required: true})
	undone := 0
	const tries = 5
	for i := range tries {
		name := fmt.Sprint("n", i)
		na, nb := rediscache.Of[int](a, name), rediscache.Of[int](b, name)
		if _, err := s.Do(ctx, "REPLICAOF", "127.0.0.1", "1"); err != nil {
			t.Fatal(err)
		}
		if na.Clear(ctx) == nil || na.Del(ctx, "other") == nil { // the Del starts the replay
			t.Fatal("written on a replica")
		}
		time.Sleep(600 * time.Millisecond)
		if _, err := s.Do(ctx, "REPLICAOF", "NO", "ONE"); err != nil {
			t.Fatal(err)
		}
		err1 := na.Set(ctx, "k", 1)
		err2 := nb.Clear(ctx) // voids it
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		eventually(t, "made up for", func() bool { return a.Stats().Pending == 0 })
		time.Sleep(150 * time.Millisecond)
		if v, err := nb.Get(ctx, "k"); err == nil {
			undone++
			t.Logf("after its own Clear, b reads %d, which was stored before", v)
		}
	}
	if undone > 0 {
		t.Errorf("%d of %d Clears were undone", undone, tries)
	}
}

// TestWarmSparesFailedDel: what was read before a Del that failed is not served
// after it.
func TestWarmSparesFailedDel(t *testing.T) {
	t.Parallel()
	s, ctx := rediscachetest.StartServer(t), t.Context()
	c := open(t, rediscache.Config{URL: s.URL(), Required: true})
	n := rediscache.Of[int](c, "n")
	lost := 0
	const tries = 5
	for i := range tries {
		key := fmt.Sprint("k", i)
		err := n.Warm(ctx, func(yield func(string, int) bool) {
			if !yield(key, 1) { // read from the database
				return
			}
			// Meanwhile the row changes to 2, while Redis takes no writes.
			if _, err := s.Do(ctx, "REPLICAOF", "127.0.0.1", "1"); err != nil {
				t.Error(err)
			}
			if err := n.Del(ctx, key); err == nil {
				t.Error("Del on a replica succeeded")
			}
			time.Sleep(600 * time.Millisecond)
			if _, err := s.Do(ctx, "REPLICAOF", "NO", "ONE"); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "nothing is pending", func() bool { return c.Stats().Pending == 0 })
		if v, err := n.Get(ctx, key); err == nil {
			lost++
			t.Logf("after Del was made up for, Get = %d", v)
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d failed Dels were forgotten: what was read before them is served", lost, tries)
	}
}

// TestAbandonedWrite: a write whose caller gave up may land after a later one
// that succeeded; then neither is believed.
func TestAbandonedWrite(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	var held sync.WaitGroup
	held.Add(3)
	var armed atomic.Bool
	releaseGets, releaseOld, oldHeld := make(chan struct{}), make(chan struct{}), make(chan struct{})
	c := open(t, rediscache.Config{URL: url, Required: true, MaxValueBytes: 1 << 20}, rediscache.WithHook(holdHook{hold: func(cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if cmd.Name() == "get" && strings.HasPrefix(fmt.Sprint(cmd.Args()[1]), "n:busy") {
				held.Done()
				<-releaseGets
			}
			if cmd.Name() == "set" && cmd.Args()[1] == "n:k" && armed.CompareAndSwap(true, false) {
				close(oldHeld)
				<-releaseOld
			}
		}
		return nil
	}}))
	n := rediscache.Of[string](c, "n", rediscache.Compress(rediscache.NoCompression, 0))
	if err := n.Set(ctx, "warm", "x"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { _, _ = n.Get(ctx, fmt.Sprint("busy", i)) })
	}
	held.Wait() // three calls are on their way: the next shares
	armed.Store(true)
	short, cancel := context.WithCancel(ctx)
	first := make(chan error, 1)
	go func() { first <- n.Set(short, "k", "old") }()
	<-oldHeld
	cancel()
	if err := <-first; err == nil {
		t.Fatal("the abandoned write succeeded")
	}
	newer := "new" + strings.Repeat("x", 10<<10)
	if err := n.Set(ctx, "k", newer); err != nil {
		t.Fatal(err)
	}
	close(releaseOld)
	close(releaseGets)
	wg.Wait()
	pause(t, 300*time.Millisecond)
	if v, err := n.Get(ctx, "k"); err == nil && v != newer {
		t.Errorf("Get after a write that succeeded = %.5q, an older write that failed", v)
	}
}

// TestPendingKeyIsNotNear: a key becomes pending while it is read.
func TestPendingKeyIsNotNear(t *testing.T) {
	t.Parallel()
	s, ctx := rediscachetest.StartServer(t), t.Context()
	var once sync.Once
	held, release := make(chan struct{}), make(chan struct{})
	c := open(t, rediscache.Config{URL: s.URL(), Required: true}, rediscache.WithHook(holdHook{hold: func(cmds []redis.Cmder) error {
		if cmds[0].Name() == "mget" && len(cmds[0].Args()) > 500 {
			once.Do(func() { close(held); <-release })
		}
		return nil
	}}))
	n := rediscache.Of[int](c, "n", rediscache.Near(10_000))
	if err := n.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "coherent", func() bool { return c.Stats().Coherent })
	keys := make([]string, 512)
	for i := range keys {
		keys[i] = fmt.Sprint("other", i)
	}
	done := make(chan error, 1)
	go func() { _, err := n.GetMany(ctx, slices.Concat(keys, []string{"k"})); done <- err }()
	<-held
	if _, err := s.Do(ctx, "REPLICAOF", "127.0.0.1", "1"); err != nil {
		t.Fatal(err)
	}
	err := n.Set(ctx, "k", 2) // the database has 2
	if err == nil || c.Stats().Pending != 1 {
		t.Fatalf("Set on a replica = %v, pending %d", err, c.Stats().Pending)
	}
	if v, err := n.Get(ctx, "k"); err == nil {
		t.Fatalf("Get of a pending key = %d", v)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if v, err := n.Get(ctx, "k"); err == nil {
		t.Errorf("Get of a pending key = %d (near hits %d, pending %d), want ErrNotFound", v, n.Stats().NearHits, c.Stats().Pending)
	}
	_, _ = s.Do(ctx, "REPLICAOF", "NO", "ONE")
}

// TestPublishIsRepeated: without tracking, others hear of a write although the
// first message was lost.
func TestPublishIsRepeated(t *testing.T) {
	t.Parallel()
	s, ctx := rediscachetest.StartServer(t), t.Context()
	if _, err := s.Do(ctx, "ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-client|tracking"); err != nil {
		t.Fatal(err)
	}
	url := "redis://app:pw@" + s.Addr()
	var fail atomic.Bool
	a := open(t, rediscache.Config{URL: url, Required: true}, rediscache.WithHook(holdHook{hold: func(cmds []redis.Cmder) error {
		if cmds[0].Name() == "publish" && fail.CompareAndSwap(true, false) {
			return io.EOF // the connection broke
		}
		return nil
	}}))
	b := open(t, rediscache.Config{URL: url, Required: true})
	na, nb := rediscache.Of[int](a, "n", rediscache.Near(10)), rediscache.Of[int](b, "n", rediscache.Near(10))
	eventually(t, "coherent", func() bool { return a.Stats().Coherent && b.Stats().Coherent })
	if err := na.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	pause(t, 100*time.Millisecond)
	warm(t, nb, "k")
	fail.Store(true)
	if err := na.Set(ctx, "k", 2); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for time.Since(began) < 4*time.Second {
		if v, _ := nb.Get(ctx, "k"); v == 2 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("4 s after a Set that succeeded another process' near cache has the old value")
}

// TestTagOutlivesDelTags: a tag lives as long as what carries it, whoever
// renewed it last.
func TestTagOutlivesDelTags(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	ca := open(t, rediscache.Config{URL: url, Required: true})
	a := rediscache.Of[int](ca, "n", rediscache.TTL(0), rediscache.Tags("red"))
	b := rediscache.Of[int](open(t, rediscache.Config{URL: url, Required: true}), "n")
	if err := a.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	ttl := func() time.Duration { return ca.Redis().PTTL(ctx, "pedro:v:t:n red").Val() }
	if d := ttl(); d != -1 {
		t.Fatalf("the tag of a value kept for ever is kept for %v", d)
	}
	if err := b.DelTags(ctx, "red"); err != nil {
		t.Fatal(err)
	}
	// Until the first process hears of it, its values carry the old version.
	eventually(t, "the DelTags of the other process is heard of", func() bool {
		_, err := a.Get(ctx, "k")
		return errors.Is(err, rediscache.ErrNotFound)
	})
	if err := a.Set(ctx, "k", 2); err != nil {
		t.Fatal(err)
	}
	if d := ttl(); d != -1 {
		t.Errorf("after a DelTags in another process the tag of a value kept for ever is kept for %v", d)
	}
}
