package rediscache_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache"
)

// TestWarmInPlaceOfWhatIsVoid: Warm fills what a Clear has voided and what is
// stale, and leaves alone what may be newer than what it brings.
func TestWarmInPlaceOfWhatIsVoid(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[int](c, "n", rediscache.NegativeTTL(time.Minute))
	stale := rediscache.Of[int](c, "n", rediscache.TTL(time.Millisecond), rediscache.StaleOnError(time.Minute))
	if err := errors.Join(n.Set(ctx, "void", 1), n.Clear(ctx), stale.Set(ctx, "stale", 1), n.Set(ctx, "fresh", 1), n.Set(ctx, "gone", 1), n.Del(ctx, "gone")); err != nil {
		t.Fatal(err)
	}
	_, absent := n.Load(ctx, "absent", func(context.Context, string) (int, error) { return 0, rediscache.ErrNotFound })
	if !errors.Is(absent, rediscache.ErrNotFound) {
		t.Fatal(absent)
	}
	if err := c.Redis().Set(ctx, "n:foreign", "not ours", 0).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "stale", func() bool { _, err := n.Get(ctx, "stale"); return errors.Is(err, rediscache.ErrNotFound) })

	items := map[string]int{}
	for _, key := range []string{"new", "void", "stale", "foreign", "fresh", "gone", "absent"} {
		items[key] = 2
	}
	if err := n.Warm(ctx, maps.All(items)); err != nil {
		t.Fatal(err)
	}
	got, err := n.GetMany(ctx, []string{"new", "void", "stale", "foreign", "fresh", "gone", "absent"})
	if want := map[string]int{"new": 2, "void": 2, "stale": 2, "foreign": 2, "fresh": 1}; !maps.Equal(got, want) || err != nil {
		t.Errorf("after Warm: %v, %v, want %v", got, err, want)
	}
}
