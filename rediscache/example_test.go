package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/rediscache"
)

type patient struct {
	ID   string
	Name string
}

// The whole life of a cache.
func Example() {
	ctx := context.Background()
	server, err := devservices.StartRedis(ctx) // in a program: the Redis of REDIS_URL
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	cache, err := rediscache.New(rediscache.Config{URL: server.URL(), Required: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Stop(ctx)
	patients := rediscache.Of[patient](cache, "patient", rediscache.TTL(time.Hour), rediscache.Near(10_000))
	if err := cache.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}

	load := func(_ context.Context, id string) (patient, error) {
		fmt.Println("from the database")
		return patient{ID: id, Name: "Ana"}, nil
	}
	for range 2 {
		p, err := patients.Load(ctx, "42", load)
		fmt.Println(p.Name, err)
	}
	fmt.Println(patients.Del(ctx, "42"))
	_, err = patients.Get(ctx, "42")
	fmt.Println(errors.Is(err, rediscache.ErrNotFound))
	// Output:
	// from the database
	// Ana <nil>
	// Ana <nil>
	// <nil>
	// true
}

// Without Redis, loads go on; everything else says so at once.
func Example_outage() {
	ctx := context.Background()
	cache, err := rediscache.New(rediscache.Config{Host: "127.0.0.1", Port: 1}) // nobody there
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Stop(ctx)
	fmt.Println(cache.Start(ctx)) // not Required: it may come later
	patients := rediscache.Of[patient](cache, "patient")

	p, err := patients.Load(ctx, "42", func(_ context.Context, id string) (patient, error) {
		return patient{ID: id, Name: "Ana"}, nil
	})
	fmt.Println(p.Name, err)
	_, err = patients.Get(ctx, "42")
	fmt.Println(errors.Is(err, rediscache.ErrUnavailable), cache.State())
	// Output:
	// <nil>
	// Ana <nil>
	// true down
}

func ExampleNamespace_DelTags() {
	ctx := context.Background()
	server, err := devservices.StartRedis(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	cache, err := rediscache.New(rediscache.Config{URL: server.URL()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Stop(ctx)
	pages := rediscache.Of[string](cache, "page")

	_ = pages.Set(ctx, "/doctors/7", "…", rediscache.Tags("doctor-7"))
	_ = pages.Set(ctx, "/search?q=7", "…", rediscache.Tags("doctor-7", "search"))
	fmt.Println(pages.DelTags(ctx, "doctor-7"))
	left, err := pages.GetMany(ctx, []string{"/doctors/7", "/search?q=7"})
	fmt.Println(len(left), err)
	// Output:
	// <nil>
	// 0 <nil>
}
