package histogram_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/histogram"
)

func TestQuantilesAreWithinABucket(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var h histogram.Histogram
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(1+rng.IntN(1000)) * time.Microsecond << rng.IntN(16)
		all = append(all, d)
		h.Observe(d)
	}
	slices.Sort(all)
	s := h.Snapshot()
	if s.Count != uint64(len(all)) {
		t.Fatalf("Count = %d, want %d", s.Count, len(all))
	}
	for _, q := range []float64{0, 0.01, 0.5, 0.95, 0.99, 1} {
		exact := all[int(q*float64(len(all)-1))]
		if got := s.Quantile(q); got < exact || float64(got) > 1.126*float64(exact)+1000 {
			t.Errorf("Quantile(%g) = %v, want %v or up to 12.5 %% more", q, got, exact)
		}
	}
}

func TestEdges(t *testing.T) {
	t.Parallel()
	var h histogram.Histogram
	if s := h.Snapshot(); s.Quantile(0.5) != 0 || s.Mean() != 0 {
		t.Errorf("empty: quantile %v, mean %v, want 0", s.Quantile(0.5), s.Mean())
	}
	h.Observe(-time.Second)
	if got := h.Snapshot().Quantile(1); got != time.Microsecond {
		t.Errorf("negative: %v, want the lowest bucket's bound of 1µs", got)
	}
	for _, d := range []time.Duration{time.Hour, 1000 * time.Hour, 1<<63 - 1} {
		h.Observe(d)
		if got := h.Snapshot().Quantile(1); got < time.Hour {
			t.Errorf("after %v the maximum is %v, want at least an hour", d, got)
		}
	}
}

func TestSubAndMean(t *testing.T) {
	t.Parallel()
	var h histogram.Histogram
	h.Observe(time.Hour)
	before := h.Snapshot()
	h.Observe(time.Millisecond)
	h.Observe(3 * time.Millisecond)
	s := h.Snapshot().Sub(before)
	if s.Count != 2 || s.Mean() != 2*time.Millisecond || s.Quantile(1) > 4*time.Millisecond {
		t.Errorf("got %d observations, mean %v, maximum %v, want 2, 2ms and about 3ms", s.Count, s.Mean(), s.Quantile(1))
	}
}

func TestConcurrentSafe(t *testing.T) {
	t.Parallel()
	var h histogram.Histogram
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				h.Observe(time.Duration(i) * time.Microsecond)
				_ = h.Snapshot()
			}
		})
	}
	wg.Wait()
	if got := h.Snapshot().Count; got != 8000 {
		t.Errorf("Count = %d, want 8000", got)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h histogram.Histogram
	b.ReportAllocs()
	for b.Loop() {
		h.Observe(137 * time.Microsecond)
	}
}
