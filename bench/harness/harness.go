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
	// Rounds is the most rounds that it is worth, for work that takes long; 0
	// means as many as the options say.
	Rounds int
	// Reopen opens the stacks anew for each round. A connection's server process
	// stays on the processor where it happens to be, the client's or another, and
	// a stack with one connection would have that luck in all rounds.
	Reopen bool
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
	// Slice takes the place of Do where the work is not a call in this process,
	// or where each call needs something made ready that must not be measured.
	// It works for about d.
	Slice func(ctx context.Context, callers int, d time.Duration) (Sample, error)
	// Burst is how many times Do is called between two looks at the clock, for
	// work that is cheaper than the looks; 0 means 1.
	Burst int
	// Weight is how many units one call of Do is, such as rows; 0 means 1.
	Weight float64
	// Usage returns what the process that does the work has used so far, where
	// that is not this one.
	Usage func() (Usage, error)
	// Counters returns numbers that grow, such as the commands that a server has
	// executed; they are reported for each unit. Optional.
	Counters func() map[string]float64
	// Close ends the stack, and says whether something was wrong after all.
	Close func() error
}

// A Sample is what Running.Slice has done.
type Sample struct {
	Units    float64
	Elapsed  time.Duration // of the work alone
	P50, P99 time.Duration // of a call
}

// Usage is what a process has used since it began. Allocs and Bytes are NaN
// where they are not known.
type Usage struct {
	CPU    time.Duration
	Allocs float64
	Bytes  float64
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
	Allocs   []float64 // of the process that works, for each unit
	Bytes    []float64
	CPU      []time.Duration // of the process that works, for each unit
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
	rounds := o.Rounds
	if c.Rounds > 0 {
		rounds = min(rounds, c.Rounds)
	}
	for i, s := range c.Stacks {
		t.Rows[i] = Row{Stack: s.Name, Ours: s.Ours, Counters: map[string][]float64{}}
	}
	openAll := func() {
		for i, s := range c.Stacks {
			if t.Rows[i].Err != nil {
				continue
			}
			if open[i], t.Rows[i].Err = s.Open(ctx, p); t.Rows[i].Err == nil {
				_, t.Rows[i].Err = slice(ctx, open[i], p, o.Warmup)
			}
		}
	}
	closeAll := func() {
		for i, r := range open {
			if r != nil && r.Close != nil {
				t.Rows[i].Err = errors.Join(t.Rows[i].Err, r.Close())
			}
			open[i] = nil
		}
	}
	openAll()
	for round := range rounds {
		if c.Reopen && round > 0 {
			closeAll()
			openAll()
		}
		o.Log("%s, %v: round %d of %d", c.Name, p, round+1, rounds)
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
	closeAll()
	t.ratios()
	return t, context.Cause(ctx)
}

// ratios fills in the ratios to the first row, round by round.
func (t *Table) ratios() {
	for i := range t.Rows {
		t.Rows[i].Ratio = t.Rows[i].Against(&t.Rows[0])
	}
}

// Against returns the ratios of the row's rates to another's, round by round;
// nothing if either is void.
func (r *Row) Against(other *Row) []float64 {
	if r.Err != nil || other.Err != nil {
		return nil
	}
	var ratios []float64
	for round := range min(len(r.Rate), len(other.Rate)) {
		ratios = append(ratios, r.Rate[round]/other.Rate[round])
	}
	return ratios
}

// measurement is one slice.
type measurement struct {
	Sample
	used     Usage
	counters map[string]float64
}

func (r *Row) add(m measurement, err error) {
	if err != nil {
		r.Err = err
		return
	}
	r.Rate = append(r.Rate, m.Units/m.Elapsed.Seconds())
	r.P50 = append(r.P50, m.P50)
	r.P99 = append(r.P99, m.P99)
	r.Allocs = append(r.Allocs, m.used.Allocs/m.Units)
	r.Bytes = append(r.Bytes, m.used.Bytes/m.Units)
	r.CPU = append(r.CPU, time.Duration(float64(m.used.CPU)/m.Units))
	for name, n := range m.counters {
		r.Counters[name] = append(r.Counters[name], n/m.Units)
	}
}

// slice lets a stack work for a while.
func slice(ctx context.Context, r *Running, p Params, d time.Duration) (measurement, error) {
	runtime.GC()
	before, err := look(r)
	if err != nil {
		return measurement{}, err
	}
	work := r.Slice
	if work == nil {
		work = r.call
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

// call calls Do for a while, and at least once a caller.
func (r *Running) call(ctx context.Context, callers int, d time.Duration) (Sample, error) {
	burst := max(r.Burst, 1)
	var h histogram.Histogram
	var calls atomic.Int64
	var failure atomic.Pointer[error]
	start := time.Now()
	end := start.Add(d)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := 0; failure.Load() == nil && ctx.Err() == nil; i += burst {
				began := time.Now()
				if i > 0 && began.After(end) {
					return
				}
				for k := range burst {
					if err := r.Do(ctx, caller, i+k); err != nil {
						first := err // what is pointed to is allocated, and err is for each call
						failure.CompareAndSwap(nil, &first)
						return
					}
				}
				h.Observe(time.Since(began) / time.Duration(burst))
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
	latency := h.Snapshot()
	return Sample{
		Units:   float64(calls.Load()) * weight,
		Elapsed: elapsed,
		P50:     latency.Quantile(0.5),
		P99:     latency.Quantile(0.99),
	}, nil
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
