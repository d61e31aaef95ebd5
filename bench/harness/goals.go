package harness

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/BurntSushi/toml"
)

// Goals are what is promised, as bench/floors.toml has them.
type Goals struct {
	Ratio []Goal // of the stack's rate to another's, at least
	Bound []Goal // of a figure of the stack, at most
}

// A Goal is a row of a table and what it has to reach.
type Goal struct {
	Case    string
	Callers int
	N       int
	Latency duration
	Stack   string
	Against string  // the other row of a ratio
	Less    string  // of a bound: the row whose figure is taken off, round by round
	Figure  string  // of a bound: "ns", "CPU ns", "p99 ns" or "allocs" for each unit, or the name of a counter
	Goal    float64 // published
	Floor   float64 // of the guard; 0 means that it does not look
}

type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

// ReadGoals reads the file.
func ReadGoals(path string) (Goals, error) {
	var g Goals
	_, err := toml.DecodeFile(path, &g)
	return g, err
}

// Params are those of the table that the goal is about.
func (g Goal) Params() Params {
	return Params{Callers: g.Callers, N: g.N, Latency: time.Duration(g.Latency)}
}

// other is the row that the goal's is compared with, "" if it is by itself.
func (g Goal) other() string { return cmp.Or(g.Against, g.Less) }

// rows finds the goal's row and the one it is compared with.
func (g Goal) rows(tables []Table) (row, against *Row) {
	for i := range tables {
		t := &tables[i]
		if t.Case != g.Case || t.Params != g.Params() {
			continue
		}
		for k := range t.Rows {
			switch t.Rows[k].Stack {
			case g.Stack:
				row = &t.Rows[k]
			case g.other():
				against = &t.Rows[k]
			}
		}
	}
	return row, against
}

// Measured returns what the run has shown of the goal, false if nothing.
func (g Goal) Measured(tables []Table) (float64, bool) {
	row, against := g.rows(tables)
	if row == nil || row.Err != nil || len(row.Rate) == 0 {
		return 0, false
	}
	if g.Against != "" {
		if against == nil {
			return 0, false
		}
		ratios := row.Against(against)
		return Median(ratios), len(ratios) > 0
	}
	values := row.figure(g.Figure)
	if g.Less != "" {
		if against == nil || against.Err != nil {
			return 0, false
		}
		values = less(values, against.figure(g.Figure))
	}
	return Median(values), len(values) > 0
}

// figure is a number for each unit, round by round; nil if there is none.
func (r *Row) figure(name string) []float64 {
	switch name {
	case "ns":
		values := make([]float64, len(r.Rate))
		for i, rate := range r.Rate {
			values[i] = 1e9 / rate
		}
		return values
	case "CPU ns":
		return nanoseconds(r.CPU)
	case "p99 ns":
		return nanoseconds(r.P99)
	case "allocs":
		return r.Allocs
	default:
		return r.Counters[name]
	}
}

func nanoseconds(list []time.Duration) []float64 {
	values := make([]float64, len(list))
	for i, d := range list {
		values[i] = float64(d)
	}
	return values
}

// less takes one figure off another, round by round.
func less(values, off []float64) []float64 {
	left := make([]float64, min(len(values), len(off)))
	for i := range left {
		left[i] = values[i] - off[i]
	}
	return left
}

// void says why a row has no figure, "" if it was not measured.
func (g Goal) void(tables []Table) string {
	row, against := g.rows(tables)
	for _, r := range []*Row{row, against} {
		if r != nil && r.Err != nil {
			return firstLine(r.Err.Error())
		}
	}
	return ""
}

// Write writes the goals beside what was measured.
func (g Goals) Write(w io.Writer, tables []Table) {
	fmt.Fprint(w, "\n## Goals\n\nThe medians of the ratios within each round, and of the figures, beside what is promised.\n\n| | | goal | measured | |\n|---|---|--:|--:|---|\n")
	for _, r := range g.Ratio {
		writeGoal(w, r, tables, fmt.Sprintf("%s ÷ %s", r.Stack, r.Against), "≥", func(measured float64) bool { return measured >= r.Goal })
	}
	for _, r := range g.Bound {
		what := fmt.Sprintf("%s: %s", r.Stack, r.Figure)
		if r.Less != "" {
			what += ", less " + r.Less
		}
		writeGoal(w, r, tables, what, "≤", func(measured float64) bool { return measured <= r.Goal })
	}
}

func writeGoal(w io.Writer, g Goal, tables []Table, what, sign string, met func(float64) bool) {
	measured, ok := g.Measured(tables)
	if !ok {
		if why := g.void(tables); why != "" {
			fmt.Fprintf(w, "| %s, %v | %s | %s %g | – | not met: %s |\n", g.Case, g.Params(), what, sign, g.Goal, why)
		}
		return // not part of this run
	}
	verdict := "met"
	if !met(measured) {
		verdict = "**not met**"
	}
	fmt.Fprintf(w, "| %s, %v | %s | %s %s | %.4g | %s |\n", g.Case, g.Params(), what, sign, plain(g.Goal), measured, verdict)
}

// plain writes a number without an exponent.
func plain(f float64) string {
	if f == float64(int64(f)) {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%g", f)
}

// A Shortfall is a goal that is below its floor or could not be measured.
type Shortfall struct {
	Goal Goal
	Why  string // a sentence
}

// Below returns what is below its floor.
func (g Goals) Below(tables []Table) []Shortfall {
	var list []Shortfall
	for _, r := range g.Ratio {
		if r.Floor == 0 {
			continue
		}
		what := fmt.Sprintf("%s, %v: %s ÷ %s", r.Case, r.Params(), r.Stack, r.Against)
		switch measured, ok := r.Measured(tables); {
		case !ok:
			list = append(list, Shortfall{r, fmt.Sprintf("%s: not measured: %s", what, r.void(tables))})
		case measured < r.Floor:
			list = append(list, Shortfall{r, fmt.Sprintf("%s is %.2f, and the floor is %.2f", what, measured, r.Floor)})
		}
	}
	return list
}

// Again cuts the cases down to what is below its floor and not void: a wrong
// answer stays wrong, but a ratio deserves more rounds.
func Again(below []Shortfall, tables []Table, all []Case) []Case {
	var g Goals
	for _, s := range below {
		if _, ok := s.Goal.Measured(tables); ok {
			g.Ratio = append(g.Ratio, s.Goal)
		}
	}
	return g.Guarded(all)
}

// Merge adds the rounds of more to those of the tables about the same, so that
// the medians are over all of them.
func Merge(tables, more []Table) {
	for i := range tables {
		t := &tables[i]
		for _, m := range more {
			if m.Case != t.Case || m.Params != t.Params {
				continue
			}
			for k := range m.Rows {
				if r := slices.IndexFunc(t.Rows, func(r Row) bool { return r.Stack == m.Rows[k].Stack }); r >= 0 {
					t.Rows[r].merge(m.Rows[k])
				}
			}
			t.ratios()
		}
	}
}

// Promised reports whether a ratio is promised of a case with some parameters.
func (g Goals) Promised(name string, p Params) bool {
	return slices.ContainsFunc(g.Ratio, func(r Goal) bool { return r.Case == name && r.Params() == p })
}

// Guarded cuts the cases down to what the floors are about.
func (g Goals) Guarded(all []Case) []Case {
	var list []Case
	for _, c := range all {
		var params []Params
		stacks := map[string]bool{}
		for _, r := range g.Ratio {
			if r.Floor == 0 || r.Case != c.Name {
				continue
			}
			stacks[r.Stack], stacks[r.Against] = true, true
			params = appendNew(params, r.Params())
		}
		if len(params) == 0 {
			continue
		}
		guarded := c
		guarded.Params, guarded.Stacks = params, nil
		for _, s := range c.Stacks {
			if stacks[s.Name] {
				guarded.Stacks = append(guarded.Stacks, s)
			}
		}
		list = append(list, guarded)
	}
	return list
}

func appendNew(list []Params, p Params) []Params {
	if slices.Contains(list, p) {
		return list
	}
	return append(list, p)
}
