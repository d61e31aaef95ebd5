package rediscache_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/rediscache"
)

// The variables of the environment; the defaults are those of a local Redis.
func ExampleConfigFromEnv() {
	_ = os.Setenv("REDIS_URL", "rediss://clinic:secret@cache.example.org:6380/0")
	defer os.Unsetenv("REDIS_URL")
	cfg, err := rediscache.ConfigFromEnv()
	fmt.Println(cfg, err)
	// Output: {URL:rediss://cache.example.org:6380/0} <nil>
}

// The state, the client below, and what to change.
func ExampleCache_Redis() {
	ctx := context.Background()
	cache, stop := started()
	defer stop()
	fmt.Println(cache.Ping(ctx), cache.State())
	n, err := cache.Redis().Incr(ctx, "counter").Result() // whatever the cache does not do
	fmt.Println(n, err)
	fmt.Println(len(cache.Advice()), cache.Stats().State)
	// Output:
	// <nil> up
	// 1 <nil>
	// 0 up
}

// securedRedis is a server with TLS and a user.
func securedRedis() (ca *devservices.CA, server *devservices.Redis, stop func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	ca, err = devservices.NewCA(dir)
	if err != nil {
		log.Fatal(err)
	}
	cert, err := ca.Server()
	if err != nil {
		log.Fatal(err)
	}
	server, err = devservices.StartRedis(context.Background(), devservices.WithRedisTLS(cert), devservices.WithUser("clinic", "secret"))
	if err != nil {
		log.Fatal(err)
	}
	return ca, server, func() {
		_ = server.Close()
		_ = os.RemoveAll(dir)
	}
}

// commands is a hook of go-redis that counts, as a tracer would.
type commands struct{ n int }

func (c *commands) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "ping" {
			c.n++
		}
		return next(ctx, cmd)
	}
}

func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// Everything that has behaviour is an option.
func ExampleNew() {
	ctx := context.Background()
	ca, server, stop := securedRedis()
	defer stop()
	var seen commands
	cache, err := rediscache.New(rediscache.Config{URL: server.URL(), Required: true},
		rediscache.WithLogger(slog.New(slog.DiscardHandler)),
		rediscache.WithTLS(&tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}),
		rediscache.WithCredentials(func(context.Context) (username, password string, err error) {
			return "clinic", "secret", nil // asked for at each connection: for passwords that rotate
		}),
		rediscache.WithHook(&seen),
		rediscache.WithStateObserver(func(to rediscache.State, cause error) { fmt.Println("state:", to, cause) }))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cache.Stop(ctx) }()
	fmt.Println(cache.Start(ctx), seen.n)
	// Output:
	// state: up <nil>
	// <nil> 1
}

// Redis lost, and how it is told.
func ExampleWithStateObserver() {
	ctx := context.Background()
	server, err := devservices.StartRedis(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	states := make(chan rediscache.State, 10)
	cache, err := rediscache.New(rediscache.Config{URL: server.URL(), Required: true}, rediscache.WithLogger(slog.New(slog.DiscardHandler)),
		rediscache.WithStateObserver(func(to rediscache.State, _ error) { states <- to }))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cache.Stop(ctx) }()
	fmt.Println(cache.Start(ctx), <-states)
	_ = server.Kill()
	var value string
	fmt.Println(errors.Is(cache.Get(ctx, "k", &value), rediscache.ErrUnavailable), <-states)
	fmt.Println(server.Restart(ctx), <-states)
	// Output:
	// <nil> up
	// true down
	// <nil> up
}

// How the values of a namespace are kept and loaded; a single call can differ.
func ExampleOf() {
	ctx := context.Background()
	cache, stop := started()
	defer stop()
	patients := rediscache.Of[patient](cache, "patient",
		rediscache.TTL(10*time.Minute), rediscache.Jitter(0.2), // of up to 20 %
		rediscache.Near(1000), rediscache.NearTTL(time.Minute), // 1000 in the process
		rediscache.StaleFor(time.Minute),    // serve the old one while loading
		rediscache.StaleOnError(time.Hour),  // and while loading fails
		rediscache.EarlyRefresh(0.8),        // load when 80 % of the TTL are over
		rediscache.SoftTimeout(time.Second), // serve the old one if it takes longer
		rediscache.LoadTimeout(time.Minute), // give up then
		rediscache.Compress(rediscache.Zstd, 4096),
		rediscache.WithCodec(rediscache.Encoding("indented", // as msgpack.Marshal would be
			func(v any) ([]byte, error) { return json.MarshalIndent(v, "", " ") }, json.Unmarshal)))
	load := func(context.Context, string) (patient, error) { return patient{"1", "Ana"}, nil }
	for range 3 {
		p, err := patients.Load(ctx, "1", load, rediscache.Exclusive()) // one load in all processes
		fmt.Println(p.Name, err)
	}
	s := patients.Stats()
	fmt.Println(s.Name, s.Loads, s.NearHits+s.Hits)
	// Output:
	// Ana <nil>
	// Ana <nil>
	// Ana <nil>
	// patient 1 2
}

// A lease of one's own length, for loads that take long.
func ExampleExclusiveFor() {
	ctx := context.Background()
	cache, stop := started()
	defer stop()
	reports := rediscache.Of[string](cache, "report", rediscache.WithCodec(rediscache.Raw), rediscache.ExclusiveFor(10*time.Second))
	text, err := reports.Load(ctx, "2026", func(context.Context, string) (string, error) { return "a long year", nil })
	fmt.Println(text, err)
	// Output: a long year <nil>
}

// A codec of functions for an interface, as those of protobuf are.
func ExampleMessage() {
	ctx := context.Background()
	cache, stop := started()
	defer stop()
	notes := rediscache.Of[*note](cache, "note", rediscache.WithCodec(rediscache.Message("note", // proto.Marshal, proto.Unmarshal
		func(m message) ([]byte, error) { return []byte(*m.text()), nil },
		func(p []byte, m message) error { *m.text() = string(p); return nil })))
	fmt.Println(notes.Set(ctx, "1", &note{Text: "hello"}))
	n, err := notes.Get(ctx, "1")
	fmt.Println(n.Text, err)
	// Output:
	// <nil>
	// hello <nil>
}

// A service that is ready when its cache is warm.
func ExampleNamespace_Warm() {
	ctx := context.Background()
	cache, stop := started()
	defer stop()
	patients := rediscache.Of[patient](cache, "patient", rediscache.ReadyAfterWarm())
	fmt.Println(errors.Is(cache.Ready(ctx), rediscache.ErrWarming))
	all := map[string]patient{"1": {"1", "Ana"}, "2": {"2", "Ben"}} // read from the database, page by page
	err := patients.Warm(ctx, maps.All(all), rediscache.WarmBudget(10*time.Second), rediscache.WarmLimit(10_000),
		rediscache.WarmProgress(func(done int) { fmt.Println(done, "warm") }))
	fmt.Println(err, cache.Ready(ctx))
	// Output:
	// true
	// 2 warm
	// <nil> <nil>
}

// Slowly, and with a word about it.
func ExampleClearRate() {
	ctx := context.Background()
	cache, stop := started()
	defer stop()
	for i := range 3 {
		_ = cache.Set(ctx, fmt.Sprint("old:", i), i, time.Hour)
	}
	n, err := cache.ClearPattern(ctx, "old:*", rediscache.ClearRate(10_000),
		rediscache.ClearProgress(func(deleted int64) { slog.Debug("clearing", "deleted", deleted) }))
	fmt.Println(n, err)
	// Output: 3 <nil>
}
