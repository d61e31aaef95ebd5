package harness

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pedro-go/pedro/internal/histogram"
)

// slice lets a stack work for a while, or for so many calls of a caller if that is
// above 0.
func slice(ctx context.Context, r *Running, p Params, d time.Duration, calls int) (measurement, error) {
	runtime.GC()
	before, err := look(r)
	if err != nil {
		return measurement{}, err
	}
	work := r.Slice
	if work == nil {
		work = func(ctx context.Context, callers int, d time.Duration) (Sample, error) {
			return r.call(ctx, callers, d, calls)
		}
	}
	sample, err := work(ctx, max(p.Callers, 1), d)
	if err != nil {
		return measurement{}, err
	}
	after, err := look(r)
	if err != nil {
		return measurement{}, err
	}
	m := measurement{
		Sample: sample,
		used: Usage{
			CPU:    after.used.CPU - before.used.CPU,
			Allocs: after.used.Allocs - before.used.Allocs,
			Bytes:  after.used.Bytes - before.used.Bytes,
		},
		counters: map[string]float64{},
	}
	for name, n := range after.counters {
		m.counters[name] = n - before.counters[name]
	}
	return m, context.Cause(ctx)
}

// call calls Do for a while, and at least once a caller, or for most calls if that
// is above 0.
func (r *Running) call(ctx context.Context, callers int, d time.Duration, most int) (Sample, error) {
	burst := max(r.Burst, 1)
	var h histogram.Histogram
	var calls atomic.Int64
	var failure atomic.Pointer[error]
	var each []time.Duration // burst of one caller
	start := time.Now()
	end := start.Add(d)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := 0; failure.Load() == nil && ctx.Err() == nil; i += burst {
				began := time.Now()
				if most > 0 && i >= most || most <= 0 && i > 0 && began.After(end) {
					return
				}
				for k := range burst {
					if err := r.Do(ctx, caller, i+k); err != nil {
						first := err // what is pointed to is allocated, and err is for each call
						failure.CompareAndSwap(nil, &first)
						return
					}
				}
				took := time.Since(began)
				if callers == 1 {
					each = append(each, took)
				} else {
					h.Observe(took / time.Duration(burst))
				}
				calls.Add(int64(burst))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	if err := failure.Load(); err != nil {
		return Sample{}, *err
	}
	weight := r.Weight
	if weight == 0 {
		weight = 1
	}
	sample := Sample{Units: float64(calls.Load()) * weight, Elapsed: elapsed, each: each, burst: burst}
	if callers == 1 {
		sample.ofEach()
		return sample, nil
	}
	latency := h.Snapshot()
	sample.P50, sample.P99 = latency.Quantile(0.5), latency.Quantile(0.99)
	return sample, nil
}

// ofEach fills in what follows from how long each burst took.
func (s *Sample) ofEach() {
	n := len(s.each)
	if n == 0 {
		return
	}
	slices.Sort(s.each)
	call := func(i int) time.Duration { return s.each[i] / time.Duration(s.burst) }
	s.P50, s.P99 = call(n/2), call(n*99/100)
	fastest := s.each[:(n*9+9)/10]
	var sum time.Duration
	for _, d := range fastest {
		sum += d
	}
	if sum > 0 {
		s.Fast = s.Units * float64(len(fastest)) / float64(n) / sum.Seconds()
	}
}

// moment is what the process and the stack have used so far.
type moment struct {
	used     Usage
	counters map[string]float64
}

func look(r *Running) (moment, error) {
	var m moment
	if r.Counters != nil {
		m.counters = r.Counters()
	}
	if r.Usage != nil {
		var err error
		m.used, err = r.Usage()
		return m, err
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	m.used.Allocs, m.used.Bytes = float64(mem.Mallocs), float64(mem.TotalAlloc)
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return m, fmt.Errorf("getrusage: %w", err)
	}
	m.used.CPU = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	return m, nil
}
