package migration_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedro-go/pedro/examples/migration/goredis"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// TestGoRedis: fifty callers ask for one user at once; then Redis is killed.
// Before, the source is asked by each, and the outage is an error; after, it is
// asked once, and the outage is none.
func TestGoRedis(t *testing.T) {
	t.Parallel()
	type users interface {
		Get(ctx context.Context, id string) (goredis.User, error)
		Changed(ctx context.Context, id string) error
	}
	type load func(ctx context.Context, id string) (goredis.User, error)
	for name, open := range map[string]func(t *testing.T, url string, l load) users{
		"before": func(t *testing.T, url string, l load) users {
			t.Helper()
			return &goredis.UsersBefore{Redis: dial(t, url), Load: l}
		},
		"after": func(t *testing.T, url string, l load) users {
			t.Helper()
			cache, err := rediscache.New(rediscache.Config{URL: url, Required: true}, rediscache.WithLogger(quiet))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cache.Stop(context.Background()) })
			u := goredis.NewUsersAfter(cache, l)
			if err := cache.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			return u
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			server := rediscachetest.StartServer(t)
			var loads atomic.Int64
			var called atomic.Pointer[string]
			called.Store(new("Anna"))
			u := open(t, server.URL(), func(ctx context.Context, id string) (goredis.User, error) {
				loads.Add(1)
				select { // the database takes a moment
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
				}
				return goredis.User{ID: id, Name: *called.Load()}, nil
			})
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					if got, err := u.Get(ctx, "1"); err != nil || got.Name != "Anna" {
						t.Errorf("got %+v, %v, want Anna", got, err)
					}
				})
			}
			wg.Wait()
			t.Logf("50 callers made %d loads", loads.Load())
			if name == "after" && loads.Load() != 1 || name == "before" && loads.Load() < 2 {
				t.Errorf("%d loads", loads.Load())
			}
			called.Store(new("Anne"))
			if err := u.Changed(ctx, "1"); err != nil {
				t.Error(err)
			}
			if got, err := u.Get(ctx, "1"); err != nil || got.Name != "Anne" {
				t.Errorf("after the change got %+v, %v, want Anne", got, err)
			}
			server.Kill()
			got, err := u.Get(ctx, "1")
			t.Logf("with Redis away: %+v, %v", got, err)
			if name == "after" && (err != nil || got.Name != "Anne") {
				t.Errorf("with Redis away got %+v, %v, want Anne", got, err)
			}
			if name == "before" && err == nil {
				t.Error("with Redis away: no error, so the guide is out of date")
			}
		})
	}
}
