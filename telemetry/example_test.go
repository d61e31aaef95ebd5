package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
	"github.com/pedro-go/pedro/telemetry"
	"github.com/pedro-go/pedro/telemetry/prom"
)

// A host with metrics for Prometheus and spans for whatever exporter the
// TracerProvider has.
func Example() { //nolint:testableexamples // it would serve until it is stopped
	run := func(ctx context.Context, dbCfg pgpool.Config, rdCfg rediscache.Config, snCfg session.Config) error {
		metrics, err1 := prom.New(nil)       // or any other MeterProvider
		tracers := trace.NewTracerProvider() // with trace.WithBatcher(an exporter)
		slog.SetDefault(slog.New(telemetry.LogHandler(slog.NewJSONHandler(os.Stderr, nil))))
		t, err2 := telemetry.New(telemetry.Config{MeterProvider: metrics.Provider(), TracerProvider: tracers})
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		pool, err1 := pgpool.New(dbCfg, t.Pool())
		cache, err2 := rediscache.New(rdCfg, t.Cache())
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		sessions, err1 := session.New(cache.Redis(), snCfg)
		checks, err2 := health.New(health.Config{})
		g, err3 := lifecycle.New(lifecycle.Config{}, lifecycle.WithSignals())
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		if err := t.Watch(telemetry.Sources{Pool: pool, Cache: cache, Sessions: sessions, Checks: checks, Group: g}); err != nil {
			return err
		}

		mux := http.NewServeMux()
		mux.Handle("GET /metrics", metrics)
		handler := t.HTTP(session.Middleware(sessions)(telemetry.Route(mux)))

		g.Add("metrics", metrics)
		g.Add("postgres", pool)
		g.Add("redis", cache)
		g.Add("sessions", sessions)
		g.Add("health", checks)
		g.Add("http", lifecycle.Server(&http.Server{Addr: ":8080", Handler: handler}))
		return g.Run(ctx)
	}
	_ = run
}

// A router that keeps its patterns to itself, as chi and gorilla/mux do, says
// which one a request took.
func ExampleSetRoute() {
	recorder := tracetest.NewSpanRecorder()
	t, err := telemetry.New(telemetry.Config{TracerProvider: trace.NewTracerProvider(trace.WithSpanProcessor(recorder))})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := t.HTTP(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		telemetry.SetRoute(r, "/patients/{id}") // the RoutePattern of chi's RouteContext
	}))
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/patients/7", http.NoBody))
	fmt.Println(recorder.Ended()[0].Name())
	// Output: GET /patients/{id}
}
