package harness

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A slice in parts is one slice: its quantiles and its rate are those of all calls.
func TestPartsOfASlice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		work := &Running{Burst: 2, Weight: 3, Do: func(context.Context, int, int) error {
			if calls++; (calls-1)%40 < 2 { // one burst in twenty
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(time.Millisecond)
			return nil
		}, Counters: func() map[string]float64 { return map[string]float64{"calls": float64(calls)} }}
		var sum measurement
		for range 4 {
			part, err := slice(t.Context(), work, Params{}, 0, 400)
			if err != nil {
				t.Fatal(err)
			}
			sum.merge(part)
		}
		if sum.Units != 3*float64(calls) || sum.counters["calls"] != float64(calls) || len(sum.each) != calls/2 || calls != 4*400 {
			t.Errorf("%g units, %g counted and %d bursts of %d calls", sum.Units, sum.counters["calls"], len(sum.each), calls)
		}
		if sum.P50 != time.Millisecond || sum.P99 != 101*time.Millisecond {
			t.Errorf("p50 %v, p99 %v", sum.P50, sum.P99)
		}
		if sum.Fast < 2900 || sum.Fast > 3000 { // three units a millisecond
			t.Errorf("%g a second, the fastest nine tenths", sum.Fast)
		}
	})
}
