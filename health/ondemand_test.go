package health_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/health"
)

// TestDemandIsForWhatCounts shows who waits for a slow check on demand: those
// whose answer rests on it.
func TestDemandIsForWhatCounts(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]int64{
		"/live": 0, "/live/report": 0, "/startup": 0, "/ready?exclude=report": 0, "/detailed?exclude=x,report": 0, "/ready/other": 0,
		"/": 1, "/ready": 1, "/ready/report": 1, "/detailed": 1, "/startup?exclude=other": 0,
	} {
		synctest.Test(t, func(t *testing.T) {
			var runs atomic.Int64
			c := newChecker(t, health.Config{})
			c.Add("report", func(context.Context) error { runs.Add(1); time.Sleep(500 * time.Millisecond); return nil }, health.OnDemand(time.Minute))
			c.Add("other", pass)
			h := health.Handler(c)
			start(t, c)
			began := time.Now()
			get(h, path)
			if took := time.Since(began); runs.Load() != want || took != time.Duration(want)*500*time.Millisecond {
				t.Errorf("%s: %d runs in %v, want %d", path, runs.Load(), took, want)
			}
			_ = c.Stop(t.Context())
		})
	}
}

func TestStartupOnDemand(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	c := newChecker(t, health.Config{})
	c.Add("migrations", func(context.Context) error { runs.Add(1); return nil }, health.ForStartup(), health.OnDemand(time.Hour))
	start(t, c)
	if w := get(health.Handler(c), "/startup"); w.Code != 200 || runs.Load() != 1 {
		t.Errorf("%d after %d runs, want 200 after 1", w.Code, runs.Load())
	}
}

// TestReportWithoutTime is of what is known, and runs nothing.
func TestReportWithoutTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int64
		c := newChecker(t, health.Config{})
		c.Add("dear", func(context.Context) error { runs.Add(1); return nil }, health.OnDemand(time.Second))
		start(t, c)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if r := c.Report(over); r.Checks[0].Class != "not checked yet" {
			t.Errorf("class %q, want that of a check that has not run", r.Checks[0].Class)
		}
		c.Report(t.Context())
		time.Sleep(time.Minute)
		r := c.Report(over)
		synctest.Wait()
		if r.Checks[0].Status != health.Pass || runs.Load() != 1 {
			t.Errorf("%s after %d runs, want the result of the only one", r.Checks[0].Status, runs.Load())
		}
		_ = c.Stop(t.Context())
	})
}
