package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// TestOneTooLargeFailsNobodyElse: a value larger than this process accepts, such as
// one of a process with other limits, is loaded anew, and those who share a round
// trip with who asks for it get theirs.
func TestOneTooLargeFailsNobodyElse(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, rediscache.Config{URL: rediscachetest.Start(t), Required: true, MaxReplyBytes: 1 << 20}), t.Context()
	n := rediscache.Of[int](c, "n")
	if err := c.Redis().Set(ctx, "n:big", strings.Repeat("x", 2<<20), 0).Err(); err != nil {
		t.Fatal(err)
	}
	load := func(_ context.Context, key string) (int, error) { return len(key), nil }
	var wg sync.WaitGroup
	for i := range 32 {
		key := "big"
		if i >= 8 {
			key = strings.Repeat("x", i)
		}
		wg.Go(func() {
			for range 50 {
				if v, err := n.Load(ctx, key, load); v != len(key) || err != nil {
					t.Errorf("Load %s = %d, %v", key, v, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := n.Set(ctx, "other", 1); err != nil {
		t.Fatal(err)
	}
	values, err := n.GetMany(ctx, []string{"other", "big"})
	if values["other"] != 1 || err != nil {
		t.Errorf("GetMany = %v, %v, want the other", values, err)
	}
}

// TestLoadWhateverRedisSays: Load goes on with the loader.
func TestLoadWhateverRedisSays(t *testing.T) {
	t.Parallel()
	load := func(t *testing.T, c *rediscache.Cache) {
		t.Helper()
		n := rediscache.Of[int](c, "n")
		v, err := n.Load(t.Context(), "k", func(context.Context, string) (int, error) { return 7, nil })
		if v != 7 || err != nil {
			t.Errorf("Load = %d, %v, want what the loader says", v, err)
		}
		many, err := n.LoadMany(t.Context(), []string{"l"}, func(context.Context, []string) (map[string]int, error) { return map[string]int{"l": 8}, nil })
		if many["l"] != 8 || err != nil {
			t.Errorf("LoadMany = %v, %v, want what the loader says", many, err)
		}
	}
	t.Run("wrong database", func(t *testing.T) {
		t.Parallel()
		load(t, open(t, rediscache.Config{URL: strings.TrimSuffix(rediscachetest.Start(t), "/0") + "/99"}))
	})
	t.Run("a web server", func(t *testing.T) {
		t.Parallel()
		web := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(web.Close)
		load(t, open(t, rediscache.Config{URL: "redis://" + web.Listener.Addr().String()}))
	})
	t.Run("takes no writes", func(t *testing.T) {
		t.Parallel()
		c := fresh(t)
		if err := c.Redis().ConfigSet(t.Context(), "min-replicas-to-write", "1").Err(); err != nil {
			t.Fatal(err)
		}
		load(t, c)
	})
}

// TestLoadManyOfNotFound: what else a loader returns beside ErrNotFound counts.
func TestLoadManyOfNotFound(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[int](c, "n", rediscache.NegativeTTL(time.Minute))
	values, err := n.LoadMany(ctx, []string{"a", "b"}, func(context.Context, []string) (map[string]int, error) {
		return map[string]int{"a": 1}, fmt.Errorf("b: %w", rediscache.ErrNotFound)
	})
	if !maps.Equal(values, map[string]int{"a": 1}) || err != nil {
		t.Errorf("found and not found: %v, %v, want a", values, err)
	}
	errDB := errors.New("database away")
	values, err = n.LoadMany(ctx, []string{"c", "d"}, func(context.Context, []string) (map[string]int, error) {
		return nil, errors.Join(fmt.Errorf("c: %w", rediscache.ErrNotFound), errDB)
	})
	if !errors.Is(err, errDB) {
		t.Errorf("not found and failed: %v, %v, want the database's error", values, err)
	}
	if v, err := n.Load(ctx, "d", func(context.Context, string) (int, error) { return 4, nil }); v != 4 || err != nil {
		t.Errorf("then Load = %d, %v", v, err)
	}
}

// TestLoaderChangesItsKeys: what a loader does with its argument is its own matter.
func TestLoaderChangesItsKeys(t *testing.T) {
	t.Parallel()
	s, ctx := rediscachetest.StartServer(t), t.Context()
	c := open(t, rediscache.Config{URL: s.URL(), Required: true})
	n := rediscache.Of[int](c, "n")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "down", func() bool { return c.Ping(ctx) != nil && c.State() == rediscache.StateDown })
	if _, err := n.LoadMany(ctx, []string{"user:1"}, func(_ context.Context, keys []string) (map[string]int, error) {
		keys[0] = strings.TrimPrefix(keys[0], "user:")
		return map[string]int{"user:1": 1}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if v, err := n.Load(ctx, "1", func(context.Context, string) (int, error) { return 5, nil }); v != 5 || err != nil {
		t.Errorf("Load of another key, never asked for: %d, %v", v, err)
	}
}

// TestAfterStop: every call says that the cache is closed.
func TestAfterStop(t *testing.T) {
	t.Parallel()
	c, err := rediscache.New(rediscache.Config{URL: rediscachetest.Start(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	n := rediscache.Of[int](c, "n")
	if err := errors.Join(n.Set(ctx, "k", 1), c.Stop(ctx)); err != nil {
		t.Fatal(err)
	}
	one := func(context.Context, string) (int, error) { return 1, nil }
	_, get := n.Get(ctx, "k")
	_, load := n.Load(ctx, "k", one)
	_, getMany := n.GetMany(ctx, []string{"k"})
	_, clearAll := c.ClearPattern(ctx, "*")
	_, del := c.Del(ctx, "k")
	for what, err := range map[string]error{
		"Get": get, "Load": load, "GetMany": getMany, "ClearPattern": clearAll, "Cache.Del": del, "Cache.Set": c.Set(ctx, "k", 1, 0),
		"Set": n.Set(ctx, "k", 1), "Del": n.Del(ctx, "k"), "Clear": n.Clear(ctx), "Warm": n.Warm(ctx, maps.All(map[string]int{"a": 1})),
	} {
		if !errors.Is(err, rediscache.ErrClosed) {
			t.Errorf("%s = %v, want ErrClosed", what, err)
		}
	}
}

// TestCauses: an error says why its context ended.
func TestCauses(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[int](c, "n", rediscache.LoadTimeout(50*time.Millisecond))
	_, err := n.Load(ctx, "k", func(ctx context.Context, _ string) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
	if err == nil || !strings.Contains(err.Error(), "LoadTimeout") {
		t.Errorf("after LoadTimeout: %v", err)
	}
	why := errors.New("why")
	gone, cancel := context.WithCancelCause(ctx)
	cancel(why)
	_, load := n.Load(gone, "k", func(context.Context, string) (int, error) { return 7, nil })
	_, clearAll := c.ClearPattern(gone, "a*")
	late, cancel := context.WithCancelCause(ctx)
	warm := n.Warm(late, func(yield func(string, int) bool) { yield("b", 1); cancel(why) })
	for what, err := range map[string]error{"Load": load, "ClearPattern": clearAll, "Warm": warm} {
		if !errors.Is(err, why) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v, want the cause, and context.Canceled", what, err)
		}
	}
}

// TestBlockingCommandIsNoOutage: a consumer of a queue that has waited for long
// enough says nothing about Redis.
func TestBlockingCommandIsNoOutage(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := c.Redis().BLPop(ctx, 0, "queue").Err()
		cancel()
		if err == nil || errors.Is(err, rediscache.ErrUnavailable) || c.State() != rediscache.StateUp {
			t.Errorf("BLPOP = %v, state %v, want a timeout, and up", err, c.State())
		}
	}
}

// TestDelOfManyKeys: no command takes a million keys.
func TestDelOfManyKeys(t *testing.T) {
	t.Parallel()
	var longest int
	c := fresh(t, rediscache.WithHook(holdHook{hold: func(cmds []redis.Cmder) error {
		if cmds[0].Name() == "unlink" {
			longest = max(longest, len(cmds[0].Args()))
		}
		return nil
	}}))
	keys := make([]string, 2000)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
		if i%100 == 0 {
			if err := c.Set(t.Context(), keys[i], 1, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n, err := c.Del(t.Context(), keys...); n != 20 || err != nil || longest > 501 {
		t.Errorf("Del = %d, %v, in commands of up to %d words, want 20 deleted, in commands of 501", n, err, longest)
	}
}

// TestLongTag: what cannot be deleted cannot be set.
func TestLongTag(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n, tag := rediscache.Of[int](c, "n"), strings.Repeat("t", 70<<10)
	for what, err := range map[string]error{"Set": n.Set(ctx, "k", 1, rediscache.Tags(tag)), "DelTags": n.DelTags(ctx, tag)} {
		if !errors.Is(err, rediscache.ErrTooLarge) {
			t.Errorf("%s = %v, want ErrTooLarge", what, err)
		}
	}
}

// TestHookPanics: a hook of the host that panics on a goroutine of the cache
// fails the calls that it was for.
func TestHookPanics(t *testing.T) {
	t.Parallel()
	c, start, end := busy(t, func(cmd redis.Cmder) bool {
		if strings.Contains(fmt.Sprint(cmd.Args()...), "explosive") {
			panic("hook")
		}
		return true
	})
	n := rediscache.Of[int](c, "n")
	start()
	v, err := n.Get(t.Context(), "explosive")
	end()
	if err == nil || !strings.Contains(err.Error(), "panic: hook") {
		t.Errorf("Get = %d, %v, want the panic", v, err)
	}
	if err := n.Set(t.Context(), "k", 1); err != nil {
		t.Errorf("then Set = %v", err)
	}
}

// TestNilOptions: an option that is nil, as from a function that had none to give,
// changes nothing.
func TestNilOptions(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[int](c, "n", nil)
	load := func(context.Context, string) (int, error) { return 3, nil }
	loadAll := func(_ context.Context, keys []string) (map[string]int, error) { return map[string]int{keys[0]: 4}, nil }
	if err := n.Set(ctx, "a", 1, nil); err != nil {
		t.Errorf("Set = %v", err)
	}
	if err := n.SetMany(ctx, map[string]int{"b": 2}, nil); err != nil {
		t.Errorf("SetMany = %v", err)
	}
	if v, err := n.Load(ctx, "c", load, nil); v != 3 || err != nil {
		t.Errorf("Load = %d, %v", v, err)
	}
	if m, err := n.LoadMany(ctx, []string{"d"}, loadAll, nil); m["d"] != 4 || err != nil {
		t.Errorf("LoadMany = %v, %v", m, err)
	}
	if err := n.Warm(ctx, maps.All(map[string]int{"e": 5}), nil); err != nil {
		t.Errorf("Warm = %v", err)
	}
	if deleted, err := c.ClearPattern(ctx, "n:*", nil); deleted != 5 || err != nil {
		t.Errorf("ClearPattern = %d, %v, want the five", deleted, err)
	}
}
