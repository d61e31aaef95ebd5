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
	"math/rand/v2"
	"slices"
	"time"
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
	// Long is the N from which on a round takes so long that there is only one,
	// without a warm-up; 0 means none.
	Long int
	// Luck says that luck has its part: connections stay on the processors on
	// which they happen to be. The stacks are then opened anew twice as many times
	// as there are rounds otherwise, and have so many rounds each time, which are as
	// much shorter: between slices of a few milliseconds the machine changes less.
	// With one caller it decides: its thread and the server's process
	// are on one processor or on two, which makes a round trip half or twice as
	// long. They are then kept apart, and opened thrice as many times; a slice is
	// parts of so many calls each, with parts of the other stacks' between them; and since what others do on the machine is a few calls that take a hundred times as
	// long, the rate is that of the fastest nine tenths of the calls in a slice.
	Luck bool
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
	// MaxN is the largest N that the stack is worth waiting for; 0 means any.
	MaxN int
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
	// Reconnect makes the stack's connections anew, where it is cheaper than Close
	// and Open, as in another process. Optional.
	Reconnect func(ctx context.Context) error
	// Close ends the stack, and says whether something was wrong after all.
	Close func() error
}

// A Sample is what Running.Slice has done.
type Sample struct {
	Units    float64
	Elapsed  time.Duration // of the work alone
	P50, P99 time.Duration // of a call
	Fast     float64       // units a second of the fastest nine tenths of one caller's calls; 0 if not known

	each  []time.Duration // of one caller's bursts, if known
	burst int             // calls in each
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
	// Promised says that a ratio is promised of a case with some parameters: there
	// are twice as many rounds, as with Luck, so that less of the median is chance.
	// Optional.
	Promised func(name string, p Params) bool
	Log      func(format string, args ...any)
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

// Median returns the middle value, the mean of both where there are two, and 0 of
// none.
func Median[T float64 | time.Duration](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[half-1] + sorted[half]) / 2
	}
	return sorted[half]
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

// Where luck decides, or something is promised, a case has more times as many
// rounds. Where luck decides they are finer times as many again, and shorter, on
// the same connections; with one caller these are made anew finer times, and a
// slice is so many parts.
const (
	more      = 2
	finer     = 3
	parts     = 10
	partCalls = 25
)

// A plan is how the options apply to a case with some parameters.
type plan struct {
	Options

	stay  int // how many rounds a stack stays open for, 0 for all
	parts int // of a slice
	calls int // in each; 0 for as long as a slice takes
}

func (o Options) fit(c Case, p Params) plan {
	if !c.Luck && o.Promised != nil && o.Promised(c.Name, p) {
		o.Rounds *= more
	}
	if c.Rounds > 0 {
		o.Rounds = min(o.Rounds, c.Rounds)
	}
	fitted := plan{parts: 1}
	if c.Luck {
		again := more
		if p.Callers <= 1 {
			again = finer
			o.Slice /= more
		}
		if alone(c, p) {
			fitted.parts, fitted.calls = parts, partCalls
		}
		fitted.stay = finer
		o.Rounds *= again * fitted.stay
		o.Slice /= finer
		o.Warmup /= finer
	}
	if c.Long > 0 && p.N >= c.Long {
		o.Rounds, o.Warmup = 1, 0
	}
	fitted.Options = o
	return fitted
}

// alone reports whether one caller's luck is in where it runs.
func alone(c Case, p Params) bool { return c.Luck && p.Callers <= 1 && p.Latency == 0 }

// stacks are those of a case, of which some are open.
type stacks struct {
	c    Case
	p    Params
	plan plan
	open []*Running
	rows []Row
}

func measure(ctx context.Context, c Case, p Params, o Options) (Table, error) {
	plan := o.fit(c, p)
	c.Stacks = slices.DeleteFunc(slices.Clone(c.Stacks), func(s Stack) bool { return s.MaxN > 0 && p.N > s.MaxN })
	s := stacks{c: c, p: p, plan: plan, open: make([]*Running, len(c.Stacks)), rows: make([]Row, len(c.Stacks))}
	for i, stack := range c.Stacks {
		s.rows[i] = Row{Stack: stack.Name, Ours: stack.Ours, Counters: map[string][]float64{}}
		s.start(ctx, i)
	}
	if alone(c, p) {
		defer apart()()
	}
	for round := range plan.Rounds {
		plan.Log("%s, %v: round %d of %d", c.Name, p, round+1, plan.Rounds)
		if plan.stay > 0 && round > 0 && round%plan.stay == 0 {
			for i := range c.Stacks {
				s.reopen(ctx, i)
			}
		}
		s.round(ctx)
		if ctx.Err() != nil {
			break
		}
	}
	for i := range s.open {
		s.stop(i)
	}
	t := Table{Case: c.Name, About: c.About, Params: p, Rows: s.rows}
	t.ratios()
	return t, context.Cause(ctx)
}

// round lets each stack work for a slice.
func (s *stacks) round(ctx context.Context) {
	sums := make([]measurement, len(s.rows))
	for part := range s.plan.parts {
		for _, i := range rand.Perm(len(s.rows)) { // nobody is always the first, or always behind the same one
			r := s.open[i]
			if s.rows[i].Err != nil || part > 0 && r.Slice != nil { // it works in one piece
				continue
			}
			var m measurement
			m, s.rows[i].Err = slice(ctx, r, s.p, s.plan.Slice, s.plan.calls)
			sums[i].merge(m)
		}
	}
	for i, m := range sums {
		if s.rows[i].Err == nil {
			s.rows[i].add(m, s.c.Luck)
		}
	}
}

// start opens a stack and warms it up, unless its row is void.
func (s *stacks) start(ctx context.Context, i int) {
	row := &s.rows[i]
	if row.Err != nil {
		return
	}
	if s.open[i], row.Err = s.c.Stacks[i].Open(ctx, s.p); row.Err == nil && s.plan.Warmup > 0 {
		_, row.Err = slice(ctx, s.open[i], s.p, s.plan.Warmup, 0)
	}
}

func (s *stacks) reopen(ctx context.Context, i int) {
	r := s.open[i]
	if r == nil || r.Reconnect == nil || s.rows[i].Err != nil {
		s.stop(i)
		s.start(ctx, i)
		return
	}
	if s.rows[i].Err = r.Reconnect(ctx); s.rows[i].Err == nil {
		_, s.rows[i].Err = slice(ctx, r, s.p, s.plan.Warmup, 0)
	}
}

func (s *stacks) stop(i int) {
	if r := s.open[i]; r != nil && r.Close != nil {
		s.rows[i].Err = errors.Join(s.rows[i].Err, r.Close())
	}
	s.open[i] = nil
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

// measurement is one slice, or a part of it.
type measurement struct {
	Sample
	used     Usage
	counters map[string]float64
}

// merge adds another part of the same slice.
func (m *measurement) merge(more measurement) {
	if m.counters == nil {
		*m = more
		return
	}
	m.Units += more.Units
	m.Elapsed += more.Elapsed
	m.used.CPU += more.used.CPU
	m.used.Allocs += more.used.Allocs
	m.used.Bytes += more.used.Bytes
	for name, n := range more.counters {
		m.counters[name] += n
	}
	m.each = append(m.each, more.each...)
	m.ofEach()
}

func (r *Row) add(m measurement, luck bool) {
	rate := m.Units / m.Elapsed.Seconds()
	if luck && m.Fast > 0 {
		rate = m.Fast
	}
	r.Rate = append(r.Rate, rate)
	r.P50 = append(r.P50, m.P50)
	r.P99 = append(r.P99, m.P99)
	r.Allocs = append(r.Allocs, m.used.Allocs/m.Units)
	r.Bytes = append(r.Bytes, m.used.Bytes/m.Units)
	r.CPU = append(r.CPU, time.Duration(float64(m.used.CPU)/m.Units))
	for name, n := range m.counters {
		r.Counters[name] = append(r.Counters[name], n/m.Units)
	}
}

// merge adds the rounds of the same stack in another run of its case.
func (r *Row) merge(more Row) {
	r.Rate = append(r.Rate, more.Rate...)
	r.P50 = append(r.P50, more.P50...)
	r.P99 = append(r.P99, more.P99...)
	r.Allocs = append(r.Allocs, more.Allocs...)
	r.Bytes = append(r.Bytes, more.Bytes...)
	r.CPU = append(r.CPU, more.CPU...)
	for name, values := range more.Counters {
		r.Counters[name] = append(r.Counters[name], values...)
	}
	r.Err = errors.Join(r.Err, more.Err)
}
