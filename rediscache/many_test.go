package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

func TestMany(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	for _, near := range []int{0, 5_000} {
		n := rediscache.Of[int](c, fmt.Sprint("m", near), rediscache.Near(near), rediscache.NegativeTTL(time.Minute))
		items := map[string]int{}
		var keys []string
		for i := range 1_200 { // more than one page
			keys = append(keys, fmt.Sprint(i))
			if i < 1_000 {
				items[keys[i]] = i
			}
		}
		if err := n.SetMany(ctx, items); err != nil {
			t.Fatal(err)
		}
		if got, err := n.GetMany(ctx, keys); err != nil || len(got) != 1_000 || got["999"] != 999 {
			t.Errorf("GetMany = %d values and %v, want 1000", len(got), err)
		}
		var asked []string
		load := func(_ context.Context, keys []string) (map[string]int, error) {
			asked = append(asked, keys...)
			found := map[string]int{}
			for _, key := range keys {
				if strings.HasPrefix(key, "10") {
					found[key] = 1
				}
			}
			return found, nil
		}
		for range 2 {
			got, err := n.LoadMany(ctx, append(keys, keys...), load)
			if err != nil || len(got) != 1_100 || got["1000"] != 1 || got["3"] != 3 {
				t.Errorf("LoadMany = %d values and %v, want the 1000 cached and 100 loaded", len(got), err)
			}
		}
		slices.Sort(asked)
		if len(asked) != 200 || len(slices.Compact(asked)) != 200 {
			t.Errorf("the loader was asked for %d keys, want each of the 200 missing once", len(asked))
		}
		if err := n.Del(ctx, keys...); err != nil {
			t.Fatal(err)
		}
		if got, err := n.GetMany(ctx, keys); err != nil || len(got) != 0 {
			t.Errorf("GetMany after Del = %d values and %v, want none", len(got), err)
		}
	}
}

func TestLoadManyFailures(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[int](c, "m", rediscache.StaleOnError(time.Minute))
	if err := n.Set(ctx, "1", 1, rediscache.TTL(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "stale", func() bool { _, err := n.Get(ctx, "1"); return errors.Is(err, rediscache.ErrNotFound) })
	broken := errors.New("database away")
	fail := func(context.Context, []string) (map[string]int, error) { return nil, broken }
	got, err := n.LoadMany(ctx, []string{"1"}, fail)
	if err != nil || got["1"] != 1 {
		t.Errorf("LoadMany with a stale value = %v and %v, want it", got, err)
	}
	got, err = n.LoadMany(ctx, []string{"1", "2"}, fail)
	if !errors.Is(err, broken) || got["1"] != 1 {
		t.Errorf("LoadMany = %v and %v, want the stale value and the error", got, err)
	}
	_, err = n.LoadMany(ctx, []string{"3"}, func(context.Context, []string) (map[string]int, error) { panic("boom") })
	if !errors.Is(err, rediscache.ErrLoaderPanic) {
		t.Errorf("LoadMany with a panic = %v, want ErrLoaderPanic", err)
	}

	away := rediscache.Of[int](open(t, rediscache.Config{URL: "redis://" + closedPort(t)}), "m")
	loads := 0
	for range 3 {
		got, err = away.LoadMany(ctx, []string{"1"}, func(context.Context, []string) (map[string]int, error) {
			loads++
			return map[string]int{"1": 5}, nil
		})
		if err != nil || got["1"] != 5 {
			t.Errorf("LoadMany without Redis = %v and %v, want the loader's", got, err)
		}
	}
	if loads != 1 {
		t.Errorf("without Redis the loader was called %d times in a moment, want once", loads)
	}
}

func TestWarm(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	c := open(t, rediscache.Config{URL: url, Required: true})
	n := rediscache.Of[int](c, "w", rediscache.ReadyAfterWarm())
	if err := c.Ready(ctx); !errors.Is(err, rediscache.ErrWarming) {
		t.Errorf("Ready before Warm = %v, want ErrWarming", err)
	}
	if err := n.Set(ctx, "5", -5); err != nil {
		t.Fatal(err)
	}
	var seen []int
	all := func(yield func(string, int) bool) {
		for i := range 1_000 {
			if !yield(fmt.Sprint(i), i) {
				return
			}
		}
	}
	if err := n.Warm(ctx, all, rediscache.WarmProgress(func(done int) { seen = append(seen, done) }), rediscache.WarmLimit(500)); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(ctx); err != nil {
		t.Errorf("Ready after Warm = %v", err)
	}
	if !slices.Equal(seen, []int{200, 400, 500}) {
		t.Errorf("progress %v, want 200, 400, 500", seen)
	}
	if got, err := n.Get(ctx, "5"); err != nil || got != -5 {
		t.Errorf("Get of what was there = %d and %v, want it left alone", got, err)
	}
	if got, err := n.Get(ctx, "499"); err != nil || got != 499 {
		t.Errorf("Get of what was warmed = %d and %v", got, err)
	}
	if _, err := n.Get(ctx, "500"); !errors.Is(err, rediscache.ErrNotFound) {
		t.Errorf("Get beyond the limit = %v, want ErrNotFound", err)
	}
	endless := func(yield func(string, int) bool) {
		for i := 0; yield(fmt.Sprint("e", i), i); i++ {
		}
	}
	if err := n.Warm(ctx, endless, rediscache.WarmBudget(20*time.Millisecond)); err != nil {
		t.Errorf("Warm with a budget = %v, want nil", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := n.Warm(canceled, endless); !errors.Is(err, context.Canceled) {
		t.Errorf("Warm canceled = %v, want the cause", err)
	}
}
