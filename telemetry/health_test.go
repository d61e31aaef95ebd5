package telemetry_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/telemetry"
)

// TestCollectionRunsNoCheck shows that metrics tell of a check on demand what
// was known, however often they are collected.
func TestCollectionRunsNoCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{reader: metric.NewManualReader()}
		tel, err := telemetry.New(telemetry.Config{MeterProvider: metric.NewMeterProvider(metric.WithReader(r.reader))})
		if err != nil {
			t.Fatal(err)
		}
		checks, err := health.New(health.Config{})
		if err != nil {
			t.Fatal(err)
		}
		var runs atomic.Int64
		checks.Add("dear", func(context.Context) error { runs.Add(1); return nil }, health.OnDemand(time.Second))
		if err := tel.Watch(telemetry.Sources{Checks: checks}); err != nil {
			t.Fatal(err)
		}
		checks.Report(t.Context()) // somebody asks
		for range 5 {
			time.Sleep(time.Minute)
			all := r.collect(t)
			synctest.Wait()
			if got := number(t, all, "pedro.health.status", "pedro.health.check", "dear", "pedro.state", "pass"); got != 1 {
				t.Errorf("pass: got %v, want 1", got)
			}
		}
		if runs.Load() != 1 {
			t.Errorf("%d runs, want that of the one who asked", runs.Load())
		}
	})
}
