// Package harness measures the same work done by several stacks, side by side
// in one run.
//
// The stacks of a case take turns in short slices, round after round, so that a
// machine that slows down slows all of them; what is quoted is the median over
// the rounds of the ratio within each round. Every operation checks its result:
// one wrong answer voids the row.
package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pedro-go/pedro/internal/histogram"
)

// A Case is one kind of work and those who do it.
type Case struct {
	Name   string // such as "cache/hit"
	About  string // a sentence for the report
	Params []Params
	Stacks []Stack // the first is the one that the others are compared with
}

// Params is what a case is varied by. Each value makes a table of its own.
type Params struct {
	Callers int           // how many at once; 0 means 1
	Latency time.Duration // added by a proxy, each way together
	N       int           // size, as the case means it
}

// String returns the parameters that are set, such as "16 callers, 1ms".
func (p Params) String() string {
	s := fmt.Sprintf("%d callers", max(p.Callers, 1))
	if p.Callers <= 1 {
		s = "1 caller"
	}
	if p.N > 0 {
		s += fmt.Sprintf(", n = %d", p.N)
	}
	if p.Latency > 0 {
		s += fmt.Sprintf(", %v of latency", p.Latency)
	}
	return s
}

// A Stack is one way to do the work.
type Stack struct {
	Name string
	Ours bool
	Open func(ctx context.Context, p Params) (*Running, error)
}

// Running is an open stack.
type Running struct {
	// Do does the work once and checks the result. caller is the number of the
	// goroutine, i counts its calls.
	Do func(ctx context.Context, caller, i int) error
	// Weight is how many units one call of Do is, such as rows; 0 means 1.
	Weight float64
	// Counters returns numbers that grow, such as the commands that a server has
	// executed; they are reported for each unit. Optional.
	Counters func() map[string]float64
	// Close ends the stack, and says whether something was wrong after all.
	Close func() error
}

// Options say how long to measure.
type Options struct {
	Rounds int
	Slice  time.Duration // of a stack in a round
	Warmup time.Duration // of a stack before the first
	Log    func(format string, args ...any)
}

// A Row is what was measured of a stack.
type Row struct {
	Stack    string
	Ours     bool
	Rate     []float64 // units a second, by round
	Ratio    []float64 // to the first stack, by round
	P50, P99 []time.Duration
	Allocs   []float64 // of this process, for each unit
	Bytes    []float64
	CPU      []time.Duration // of this process, for each unit
	Counters map[string][]float64
	Err      error // voids the row
}

// A Table is a case with one set of parameters.
type Table struct {
	Case   string
	About  string
	Params Params
	Rows   []Row
}

// Median returns the middle value, 0 of none.
func Median[T float64 | time.Duration](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// Run measures a case with all its parameters.
func Run(ctx context.Context, c Case, o Options) ([]Table, error) {
	var tables []Table
	for _, p := range c.Params {
		t, err := measure(ctx, c, p, o)
		if err != nil {
			return tables, err
		}
		tables = append(tables, t)
	}
	return tables, nil
}

func measure(ctx context.Context, c Case, p Params, o Options) (Table, error) {
	t := Table{Case: c.Name, About: c.About, Params: p, Rows: make([]Row, len(c.Stacks))}
	open := make([]*Running, len(c.Stacks))
	for i, s := range c.Stacks {
		t.Rows[i] = Row{Stack: s.Name, Ours: s.Ours, Counters: map[string][]float64{}}
		if open[i], t.Rows[i].Err = s.Open(ctx, p); t.Rows[i].Err != nil {
			continue
		}
		_, t.Rows[i].Err = slice(ctx, open[i], p, o.Warmup)
	}
	for round := range o.Rounds {
		o.Log("%s, %v: round %d of %d", c.Name, p, round+1, o.Rounds)
		for k := range c.Stacks {
			i := (k + round) % len(c.Stacks) // nobody is always the first
			if t.Rows[i].Err != nil {
				continue
			}
			m, err := slice(ctx, open[i], p, o.Slice)
			t.Rows[i].add(m, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	for i, r := range open {
		if r != nil && r.Close != nil {
			t.Rows[i].Err = errors.Join(t.Rows[i].Err, r.Close())
		}
	}
	t.ratios()
	return t, context.Cause(ctx)
}

// ratios fills in the ratios to the first row, round by round.
func (t *Table) ratios() {
	base := t.Rows[0].Rate
	for i := range t.Rows {
		for round := range min(len(base), len(t.Rows[i].Rate)) {
			t.Rows[i].Ratio = append(t.Rows[i].Ratio, t.Rows[i].Rate[round]/base[round])
		}
	}
}

// measurement is one slice.
type measurement struct {
	units    float64
	elapsed  time.Duration
	latency  histogram.Snapshot
	allocs   float64
	bytes    float64
	cpu      time.Duration
	counters map[string]float64
}

func (r *Row) add(m measurement, err error) {
	if err != nil {
		r.Err = err
		return
	}
	r.Rate = append(r.Rate, m.units/m.elapsed.Seconds())
	r.P50 = append(r.P50, m.latency.Quantile(0.5))
	r.P99 = append(r.P99, m.latency.Quantile(0.99))
	r.Allocs = append(r.Allocs, m.allocs/m.units)
	r.Bytes = append(r.Bytes, m.bytes/m.units)
	r.CPU = append(r.CPU, time.Duration(float64(m.cpu)/m.units))
	for name, n := range m.counters {
		r.Counters[name] = append(r.Counters[name], n/m.units)
	}
}

// slice lets a stack work for a while, and at least once a caller.
func slice(ctx context.Context, r *Running, p Params, d time.Duration) (measurement, error) {
	var h histogram.Histogram
	var calls atomic.Int64
	var failure atomic.Pointer[error]
	runtime.GC()
	before := look(r)
	end := before.at.Add(d)
	var wg sync.WaitGroup
	for caller := range max(p.Callers, 1) {
		wg.Go(func() {
			for i := 0; failure.Load() == nil && ctx.Err() == nil; i++ {
				began := time.Now()
				if i > 0 && began.After(end) {
					return
				}
				if err := r.Do(ctx, caller, i); err != nil {
					failure.CompareAndSwap(nil, &err)
					return
				}
				h.Observe(time.Since(began))
				calls.Add(1)
			}
		})
	}
	wg.Wait()
	after := look(r)
	if err := failure.Load(); err != nil {
		return measurement{}, *err
	}
	weight := r.Weight
	if weight == 0 {
		weight = 1
	}
	m := measurement{
		units:    float64(calls.Load()) * weight,
		elapsed:  after.at.Sub(before.at),
		latency:  h.Snapshot(),
		allocs:   float64(after.mem.Mallocs - before.mem.Mallocs),
		bytes:    float64(after.mem.TotalAlloc - before.mem.TotalAlloc),
		cpu:      after.cpu - before.cpu,
		counters: map[string]float64{},
	}
	for name, n := range after.counters {
		m.counters[name] = n - before.counters[name]
	}
	return m, context.Cause(ctx)
}

// moment is what the process and the stack have used so far.
type moment struct {
	at       time.Time
	mem      runtime.MemStats
	cpu      time.Duration
	counters map[string]float64
}

func look(r *Running) *moment {
	m := &moment{}
	if r.Counters != nil {
		m.counters = r.Counters()
	}
	runtime.ReadMemStats(&m.mem)
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err == nil {
		m.cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	m.at = time.Now()
	return m
}
