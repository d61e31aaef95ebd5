// Package rediscachetest gives tests a real Redis.
//
//	func TestCart(t *testing.T) {
//		cache, err := rediscache.New(rediscache.Config{URL: rediscachetest.Start(t)})
//		…
//	}
//
// Each call starts a private, empty server, which takes 20 ms, so tests may run in parallel, flush and reconfigure as
// they like. Tests of outages take [StartServer], whose result can be killed, paused and restarted.
//
// # Failure
//
// Without an installed Redis the test is skipped, with a line that says how to install it. Where the environment variable
// CI is set it fails instead, or a green run would hide that nothing was tested.
//
// # What the package does not do
//
// It does not isolate tests on a server of yours: with TEST_REDIS_URL set, all calls of [Start] return that URL, nothing
// is flushed, and tests that need an empty server have to run one after another.
package rediscachetest

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/pedro-go/pedro/devservices"
)

// Start returns the URL of an empty Redis that belongs to this test alone, or TEST_REDIS_URL if that is set. The server
// ends with the test.
func Start(tb testing.TB) string {
	tb.Helper()
	if url := getenv("TEST_REDIS_URL"); url != "" {
		return url
	}
	return StartServer(tb).URL()
}

// StartServer starts a Redis of the test's own, whatever TEST_REDIS_URL says. It is closed when the test ends.
func StartServer(tb testing.TB, opts ...devservices.RedisOption) *devservices.Redis {
	tb.Helper()
	return start(tb, func(ctx context.Context) (*devservices.Redis, error) {
		return devservices.StartRedis(ctx, opts...)
	})
}

// StartSentinel starts a master, two replicas and three sentinels of the test's own, in about a second; see
// [devservices.StartRedisSentinel]. They are closed when the test ends.
func StartSentinel(tb testing.TB, opts ...devservices.RedisOption) *devservices.RedisSentinel {
	tb.Helper()
	return start(tb, func(ctx context.Context) (*devservices.RedisSentinel, error) {
		return devservices.StartRedisSentinel(ctx, opts...)
	})
}

// StartCluster starts a cluster of three masters and three replicas of the test's own, in about 2 s; see
// [devservices.StartRedisCluster]. It is closed when the test ends.
func StartCluster(tb testing.TB, opts ...devservices.RedisOption) *devservices.RedisCluster {
	tb.Helper()
	return start(tb, func(ctx context.Context) (*devservices.RedisCluster, error) {
		return devservices.StartRedisCluster(ctx, opts...)
	})
}

// getenv reads the environment, which a test kit may.
func getenv(name string) string { return os.Getenv(name) } //nolint:forbidigo // see above

// start ends the test if there is nothing to start, and closes what it started when the test ends.
func start[S interface{ Close() error }](tb testing.TB, f func(context.Context) (S, error)) S {
	tb.Helper()
	s, err := f(tb.Context())
	switch {
	case errors.Is(err, devservices.ErrNotInstalled) && getenv("CI") == "":
		tb.Skipf("no Redis to test with: %v", err)
	case err != nil:
		tb.Fatalf("rediscachetest: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("rediscachetest: close: %v", err)
		}
	})
	return s
}
