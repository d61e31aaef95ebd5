package rediscache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// Other clients have taken every place that the server has: those who want a
// new connection are told so, and wait for nobody.
func TestTooManyClients(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	c := open(t, rediscache.Config{URL: url, Required: true})
	n := rediscache.Of[int](c, "n")
	if err := n.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	client := plainClient(t, url)
	defer client.Close()
	admin := client.(*redis.Client).Conn()
	defer admin.Close()
	if err := errors.Join(admin.ConfigSet(ctx, "maxclients", "1").Err(), admin.ClientKillByFilter(ctx, "TYPE", "normal").Err()); err != nil {
		t.Fatal(err)
	}
	refused, slowest := 0, time.Duration(0)
	for range 100 {
		began := time.Now()
		_, err := n.Get(ctx, "k")
		if err == nil || !errors.Is(err, rediscache.ErrUnavailable) {
			t.Fatalf("Get in a server without a place = %v, want ErrUnavailable", err)
		}
		if v, err := n.Load(ctx, "k", func(context.Context, string) (int, error) { return 2, nil }); v != 2 || err != nil {
			t.Fatalf("Load = %d, %v, want what the loader says", v, err)
		}
		refused++
		slowest = max(slowest, time.Since(began))
	}
	if err := admin.ConfigSet(ctx, "maxclients", "1000").Err(); err != nil {
		t.Fatal(err)
	}
	free := time.Now()
	eventually(t, "back", func() bool { return n.Set(ctx, "k", 3) == nil })
	t.Logf("%d Gets refused, %d Loads answered, slowest pair %v; back %v after there was a place", refused, refused, slowest, time.Since(free))
	if v, err := n.Get(ctx, "k"); v != 3 || err != nil {
		t.Errorf("Get = %d, %v, want 3", v, err)
	}
}
