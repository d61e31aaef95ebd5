package devservices_test

import (
	"context"
	"testing"

	"github.com/pedro-go/pedro/devservices"
)

// bench measures from the call to a server that answers, and its end.
func bench[S interface{ Close() error }](b *testing.B, start func(context.Context) (S, error)) {
	b.Helper()
	for b.Loop() {
		s, err := start(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRedis(b *testing.B) {
	bench(b, func(ctx context.Context) (*devservices.Redis, error) { return devservices.StartRedis(ctx) })
}

func BenchmarkPostgres(b *testing.B) {
	bench(b, func(ctx context.Context) (*devservices.Postgres, error) { return devservices.StartPostgres(ctx) })
}

func BenchmarkReplica(b *testing.B) {
	p, err := devservices.StartPostgres(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	bench(b, func(ctx context.Context) (*devservices.Postgres, error) { return p.StartReplica(ctx) })
}

func BenchmarkPgBouncer(b *testing.B) {
	p, err := devservices.StartPostgres(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	bench(b, func(ctx context.Context) (*devservices.PgBouncer, error) { return devservices.StartPgBouncer(ctx, p) })
}

func BenchmarkSentinel(b *testing.B) {
	bench(b, func(ctx context.Context) (*devservices.RedisSentinel, error) {
		return devservices.StartRedisSentinel(ctx)
	})
}

func BenchmarkCluster(b *testing.B) {
	bench(b, func(ctx context.Context) (*devservices.RedisCluster, error) {
		return devservices.StartRedisCluster(ctx)
	})
}
