package rediscache_test

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/pedro-go/pedro/internal/leakcheck"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

func TestMain(m *testing.M) {
	logging.Disable() // of go-redis: outages are what is tested here
	leakcheck.Main(m)
}

// open returns a started cache on cfg, stopped with the test. Its calls have
// time on a busy machine, unless cfg says how much.
func open(tb testing.TB, cfg rediscache.Config, opts ...rediscache.Option) *rediscache.Cache {
	tb.Helper()
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	opts = append([]rediscache.Option{rediscache.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
	c, err := rediscache.New(cfg, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			tb.Errorf("stop: %v", err)
		}
	})
	if err := c.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return c
}

// fresh returns a started cache on an empty server of its own.
func fresh(tb testing.TB, opts ...rediscache.Option) *rediscache.Cache {
	tb.Helper()
	return open(tb, rediscache.Config{URL: rediscachetest.Start(tb), Required: true}, opts...)
}

// eventually polls until ok, or fails the test with what after a generous time.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("not in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

var aloneMu sync.Mutex

// alone has the tests that load the machine, or measure time, run one after
// another: six servers and 32 callers starve a second set, and Sentinels that
// were starved do nothing for half a minute.
func alone(tb testing.TB) {
	tb.Helper()
	aloneMu.Lock()
	tb.Cleanup(aloneMu.Unlock)
}
