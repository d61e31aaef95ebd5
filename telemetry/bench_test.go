package telemetry_test

import (
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/telemetry"
)

// BenchmarkCost compares a command and a statement without telemetry, with
// metrics, and with a span in a sampled trace.
func BenchmarkCost(b *testing.B) {
	tel, err := telemetry.New(telemetry.Config{
		MeterProvider:  metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())),
		TracerProvider: trace.NewTracerProvider(),
	})
	if err != nil {
		b.Fatal(err)
	}
	redisURL, postgresURL := rediscachetest.Start(b), pgpooltest.Start(b)
	sampled, span := trace.NewTracerProvider().Tracer("").Start(b.Context(), "x")
	defer span.End()
	for _, c := range []struct {
		name  string
		redis []rediscache.Option
		pool  []pgpool.Option
	}{{"none", nil, nil}, {"telemetry", []rediscache.Option{tel.Cache()}, []pgpool.Option{tel.Pool()}}} {
		cache, err := rediscache.New(rediscache.Config{URL: redisURL}, c.redis...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = cache.Stop(b.Context()) })
		pool, err := pgpool.New(pgpool.Config{URL: postgresURL}, c.pool...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = pool.Stop(b.Context()) })
		for _, where := range []string{"metrics", "span"} {
			ctx := b.Context()
			if where == "span" {
				ctx = sampled
			}
			b.Run("redis/"+c.name+"/"+where, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					cache.Redis().Get(ctx, "nothing")
				}
			})
			b.Run("postgres/"+c.name+"/"+where, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := pool.Exec(ctx, "select 1"); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
