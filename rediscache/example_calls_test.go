package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/rediscache"
)

// started is a cache on a server of its own; yours is made by ConfigFromEnv and
// New.
func started() (cache *rediscache.Cache, stop func()) {
	ctx := context.Background()
	server, err := devservices.StartRedis(ctx)
	if err != nil {
		log.Fatal(err)
	}
	cache, err = rediscache.New(rediscache.Config{URL: server.URL(), Required: true, Timeout: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	if err := cache.Start(ctx); err != nil {
		log.Fatal(err)
	}
	return cache, func() {
		_ = cache.Stop(ctx)
		_ = server.Close()
	}
}

// Values as JSON, which every other program can read.
func ExampleCache_Set() {
	ctx := context.Background()
	cache, stop := started()
	defer stop()
	fmt.Println(cache.Set(ctx, "user:123", map[string]string{"name": "Ana"}, time.Hour))
	var user struct{ Name string }
	fmt.Println(cache.Get(ctx, "user:123", &user), user.Name)
	n, err := cache.Del(ctx, "user:123")
	fmt.Println(n, err)
	fmt.Println(errors.Is(cache.Get(ctx, "user:123", &user), rediscache.ErrNotFound))
	// Output:
	// <nil>
	// <nil> Ana
	// 1 <nil>
	// true
}

// Keys by pattern, without stopping Redis.
func ExampleCache_ClearPattern() {
	ctx := context.Background()
	cache, stop := started()
	defer stop()
	for i := range 3 {
		_ = cache.Set(ctx, fmt.Sprintf("user:%d", i), i, time.Hour)
	}
	n, err := cache.ClearPattern(ctx, "user:*")
	fmt.Println(n, err)
	// Output: 3 <nil>
}

// One call of the loader for all that is not cached.
func ExampleNamespace_LoadMany() {
	ctx := context.Background()
	cache, stop := started()
	defer stop()
	patients := rediscache.Of[patient](cache, "patient")
	_ = patients.Set(ctx, "1", patient{"1", "Ana"})
	found, err := patients.LoadMany(ctx, []string{"1", "2", "3"}, func(_ context.Context, ids []string) (map[string]patient, error) {
		fmt.Println(len(ids), "from the database")
		return map[string]patient{"2": {"2", "Ben"}}, nil // there is no 3
	})
	fmt.Println(len(found), found["2"].Name, err)
	// Output:
	// 2 from the database
	// 2 Ben <nil>
}

// What does not exist is remembered, too, so that asking for it is cheap.
func ExampleNegativeTTL() {
	ctx := context.Background()
	cache, stop := started()
	defer stop()
	patients := rediscache.Of[patient](cache, "patient", rediscache.NegativeTTL(time.Minute))
	for range 2 {
		_, err := patients.Load(ctx, "42", func(context.Context, string) (patient, error) {
			fmt.Println("from the database")
			return patient{}, rediscache.ErrNotFound
		})
		fmt.Println(errors.Is(err, rediscache.ErrNotFound))
	}
	// Output:
	// from the database
	// true
	// true
}

// A namespace is emptied by one command, however much is in it.
func ExampleNamespace_Clear() {
	ctx := context.Background()
	cache, stop := started()
	defer stop()
	patients := rediscache.Of[patient](cache, "patient")
	_ = patients.SetMany(ctx, map[string]patient{"1": {"1", "Ana"}, "2": {"2", "Ben"}})
	fmt.Println(patients.Clear(ctx))
	left, err := patients.GetMany(ctx, []string{"1", "2"})
	fmt.Println(len(left), err)
	// Output:
	// <nil>
	// 0 <nil>
}
