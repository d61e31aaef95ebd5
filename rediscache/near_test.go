package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// warm reads key until the near cache answers.
func warm[V any](t *testing.T, n *rediscache.Namespace[V], key string) {
	t.Helper()
	eventually(t, "a near hit", func() bool {
		before := n.Stats().NearHits
		if _, err := n.Get(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		return n.Stats().NearHits > before
	})
}

func TestNearSeesOwnAndOtherWrites(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	a := rediscache.Of[int](open(t, rediscache.Config{URL: url}), "n", rediscache.Near(1000))
	b := open(t, rediscache.Config{URL: url})
	nb := rediscache.Of[int](b, "n", rediscache.Near(1000))
	for i := range 200 {
		if err := a.Set(ctx, "k", i); err != nil {
			t.Fatal(err)
		}
		if got, err := a.Get(ctx, "k"); err != nil || got != i {
			t.Fatalf("Get after own Set = %d and %v, want %d", got, err, i)
		}
	}
	warm(t, a, "k")
	for name, write := range map[string]func() error{
		"set":           func() error { return nb.Set(ctx, "k", 1_000) },
		"clear":         func() error { return nb.Clear(ctx) },
		"del":           func() error { return nb.Del(ctx, "k") },
		"ad hoc del":    func() error { _, err := b.Del(ctx, "n:k"); return err },
		"clearpattern":  func() error { _, err := b.ClearPattern(ctx, "n:*"); return err },
		"flush":         func() error { return b.Redis().FlushAll(ctx).Err() },
		"other program": func() error { return b.Redis().Del(ctx, "n:k").Err() },
	} {
		if err := a.Set(ctx, "k", 7); err != nil {
			t.Fatal(err)
		}
		warm(t, a, "k")
		if err := write(); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+" seen by the other near cache", func() bool { v, err := a.Get(ctx, "k"); return err != nil || v != 7 })
	}
}

func TestNearExpires(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[int](c, "n", rediscache.Near(1000), rediscache.TTL(200*time.Millisecond), rediscache.Jitter(0))
	if err := n.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	written := time.Now()
	for {
		_, err := n.Get(ctx, "k")
		if errors.Is(err, rediscache.ErrNotFound) {
			break
		}
		if err != nil || time.Since(written) > 2*time.Second {
			t.Fatalf("Get %v after a Set for 200 ms = %v, want ErrNotFound", time.Since(written), err)
		}
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	for _, near := range []int{0, 1000} {
		a := rediscache.Of[int](open(t, rediscache.Config{URL: url}), fmt.Sprint("t", near), rediscache.Near(near))
		b := rediscache.Of[int](open(t, rediscache.Config{URL: url}), fmt.Sprint("t", near), rediscache.Near(near))
		set := func(key string, tags ...string) {
			if err := a.Set(ctx, key, 1, rediscache.Tags(tags...)); err != nil {
				t.Fatal(err)
			}
			for _, n := range []*rediscache.Namespace[int]{a, b} {
				if _, err := n.Get(ctx, key); err != nil {
					t.Fatalf("Get(%s) = %v", key, err)
				}
			}
		}
		set("1", "red", "big")
		set("2", "red")
		set("3", "blue")
		set("4")
		if err := b.DelTags(ctx, "red"); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]bool{"1": false, "2": false, "3": true, "4": true} {
			if _, err := b.Get(ctx, key); (err == nil) != want {
				t.Errorf("near %d: %s after own DelTags(red): %v, want there %v", near, key, err, want)
			}
			eventually(t, "the other process sees DelTags", func() bool { _, err := a.Get(ctx, key); return (err == nil) == want })
		}
		set("1", "red")
		if err := a.Clear(ctx); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"1", "3", "4"} {
			if _, err := a.Get(ctx, key); !errors.Is(err, rediscache.ErrNotFound) {
				t.Errorf("near %d: %s after own Clear: %v, want ErrNotFound", near, key, err)
			}
			eventually(t, "the other process sees Clear", func() bool { _, err := b.Get(ctx, key); return errors.Is(err, rediscache.ErrNotFound) })
		}
	}
}

// A tag that is voided while a load runs voids what the load stores.
func TestTagsDuringLoad(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	a := rediscache.Of[int](open(t, rediscache.Config{URL: url}), "t")
	b := rediscache.Of[int](open(t, rediscache.Config{URL: url}), "t")
	entered, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := a.Load(ctx, "1", func(context.Context, string) (int, error) {
			close(entered)
			<-release
			return 1, nil
		}, rediscache.Tags("red"))
		done <- err
	}()
	<-entered
	if err := b.DelTags(ctx, "red"); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the voided load is void", func() bool { _, err := a.Get(ctx, "1"); return errors.Is(err, rediscache.ErrNotFound) })
	if _, err := b.Get(ctx, "1"); !errors.Is(err, rediscache.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
}

// What Redis missed while it was away must not be read when it is back.
func TestReplay(t *testing.T) {
	t.Parallel()
	s, ctx := rediscachetest.StartServer(t), t.Context()
	c := open(t, rediscache.Config{URL: s.URL(), Required: true, Timeout: rediscache.DefaultTimeout})
	plain := rediscache.Of[int](c, "plain")
	near := rediscache.Of[int](c, "near", rediscache.Near(100))
	tagged := rediscache.Of[int](c, "tagged", rediscache.Tags("red"))
	for _, n := range []*rediscache.Namespace[int]{plain, near, tagged} {
		for key := range 5 {
			if err := n.Set(ctx, fmt.Sprint(key), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Set(ctx, "adhoc", 1, 0); err != nil {
		t.Fatal(err)
	}
	warm(t, near, "1")
	if err := s.Pause(); err != nil { // its data survives
		t.Fatal(err)
	}
	for _, err := range []error{
		plain.Set(ctx, "1", 2), plain.Del(ctx, "2"), near.Set(ctx, "1", 2), near.Del(ctx, "2"),
		tagged.DelTags(ctx, "red"), c.Set(ctx, "adhoc", 2, 0),
	} {
		if !errors.Is(err, rediscache.ErrUnavailable) {
			t.Errorf("a write during the outage = %v, want ErrUnavailable", err)
		}
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	// From the first answer on, no old value.
	eventually(t, "back", func() bool {
		for _, key := range []string{"1", "2"} {
			for _, n := range []*rediscache.Namespace[int]{plain, near, tagged} {
				if v, err := n.Get(ctx, key); err == nil && v == 1 {
					t.Fatalf("the old value of %s is served", key)
				}
			}
		}
		var v int
		if err := c.Get(ctx, "adhoc", &v); err == nil && v == 1 {
			t.Fatal("the old ad hoc value is served")
		}
		return c.State() == rediscache.StateUp && c.Stats().Pending == 0
	})
	other := open(t, rediscache.Config{URL: s.URL(), Required: true})
	for name, n := range map[string]*rediscache.Namespace[int]{
		"plain": rediscache.Of[int](other, "plain"), "near": rediscache.Of[int](other, "near"), "tagged": rediscache.Of[int](other, "tagged"),
	} {
		for _, key := range []string{"1", "2"} {
			if v, err := n.Get(ctx, key); err == nil {
				t.Errorf("another process still reads %s:%s = %d", name, key, v)
			}
		}
	}
	if v, err := plain.Get(ctx, "3"); err != nil || v != 1 {
		t.Errorf("an untouched key = %d and %v, want it there", v, err)
	}
	if n := other.Redis().Exists(ctx, "adhoc").Val(); n != 0 {
		t.Error("the ad hoc key is still there")
	}
}

// Eight processes' worth of near caches, one writer, the invalidation
// connections cut again and again. Each value is a counter; a reader must see
// its own writes at once and others' within the bound.
func TestCoherence(t *testing.T) {
	t.Parallel()
	alone(t)
	run := 5 * time.Second
	if text := os.Getenv("REDISCACHE_COHERENCE"); text != "" {
		var err error
		if run, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	const bound = time.Second + 500*time.Millisecond // streamPing twice, and a busy machine
	s := rediscachetest.StartServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), run)
	defer cancel()
	const keys, readers = 20, 8
	type mark struct {
		value int
		at    time.Time
	}
	var written [keys]atomic.Pointer[mark] // latest value whose Set has returned
	for i := range written {
		written[i].Store(&mark{})
	}
	history := make([]sync.Map, keys) // value to when its Set had returned

	writer := rediscache.Of[int](open(t, rediscache.Config{URL: s.URL()}), "n", rediscache.Near(1000), rediscache.TTL(time.Hour))
	var wg sync.WaitGroup
	wg.Go(func() {
		for v := 1; ctx.Err() == nil; v++ {
			k := rand.IntN(keys)
			if err := writer.Set(ctx, fmt.Sprint(k), v); err != nil {
				continue
			}
			now := time.Now()
			history[k].Store(v, now)
			written[k].Store(&mark{v, now})
			if got, err := writer.Get(ctx, fmt.Sprint(k)); err == nil && got != v {
				t.Errorf("key %d after own write of %d: %d", k, v, got)
			}
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		}
	})
	var reads, nearHits atomic.Int64
	var oldest atomic.Int64
	for range readers {
		n := rediscache.Of[int](open(t, rediscache.Config{URL: s.URL()}), "n", rediscache.Near(1000), rediscache.TTL(time.Hour))
		wg.Go(func() {
			for ctx.Err() == nil {
				k := rand.IntN(keys)
				began := time.Now()
				must := written[k].Load()
				got, err := n.Get(ctx, fmt.Sprint(k))
				reads.Add(1)
				if err != nil || got >= must.value {
					continue
				}
				// An older value: for how long has it been replaced?
				next := must.at
				history[k].Range(func(v, at any) bool {
					if v.(int) > got && at.(time.Time).Before(next) {
						next = at.(time.Time)
					}
					return true
				})
				age := began.Sub(next)
				for old := oldest.Load(); int64(age) > old && !oldest.CompareAndSwap(old, int64(age)); old = oldest.Load() {
				}
				if age > bound {
					t.Errorf("key %d: read %d, replaced %v before", k, got, age)
				}
			}
			nearHits.Add(int64(n.Stats().NearHits))
		})
	}
	// go-redis' own client-side cache, beside: does it see its own writes?
	var own, behind atomic.Int64
	opt, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	opt.Protocol, opt.ClientSideCacheConfig = 3, &redis.ClientSideCacheConfig{MaxEntries: 1000}
	raw := redis.NewClient(opt)
	defer raw.Close()
	wg.Go(func() {
		for v := 1; ctx.Err() == nil; v++ {
			if raw.Set(ctx, "raw", v, 0).Err() != nil {
				continue
			}
			if got, err := raw.Get(ctx, "raw").Int(); err == nil {
				own.Add(1)
				if got != v {
					behind.Add(1)
				}
			}
			time.Sleep(time.Millisecond)
		}
	})
	cuts := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			pause(t, 150*time.Millisecond)
			// Cut the streams of all processes, or one of them.
			if _, err := s.Do(context.Background(), "CLIENT", "KILL", "TYPE", "pubsub"); err != nil {
				t.Error(err)
			}
			list, err := s.Do(context.Background(), "CLIENT", "LIST")
			if err != nil {
				t.Error(err)
				continue
			}
			for _, id := range trackingClients(list.(string)) {
				if rand.IntN(4) == 0 {
					_, _ = s.Do(context.Background(), "CLIENT", "KILL", "ID", id)
					cuts++
				}
			}
		}
	})
	wg.Wait()
	t.Logf("%d reads, %d near hits, %d streams cut, oldest read %v", reads.Load(), nearHits.Load(), cuts, time.Duration(oldest.Load()))
	t.Logf("go-redis' client-side cache beside it: %d of %d reads after an own write were older than it", behind.Load(), own.Load())
	if nearHits.Load() == 0 || cuts == 0 {
		t.Error("the near caches or the cuts did not happen")
	}
}

// trackingClients returns the ids of invalidation streams in a CLIENT LIST.
func trackingClients(list string) []string {
	var ids []string
	for line := range strings.Lines(list) {
		if strings.Contains(line, "-invalidation") {
			id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
			ids = append(ids, id)
		}
	}
	return ids
}

// What was read before an invalidation must not be kept after it: the moment is
// too short for TestCoherence to meet it often.
func TestNearDropsWhatWasReadBefore(t *testing.T) {
	t.Parallel()
	n := rediscache.Of[int](fresh(t), "n", rediscache.Near(10))
	if rediscache.FillAfterDrop(n, "k", 1) {
		t.Error("a value read before its invalidation was kept")
	}
}
