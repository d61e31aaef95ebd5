package harness_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/bench/harness"
)

func goals(t *testing.T, text string) harness.Goals {
	t.Helper()
	path := filepath.Join(t.TempDir(), "floors.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := harness.ReadGoals(path)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func sentences(list []harness.Shortfall) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(s.Why + "\n")
	}
	return b.String()
}

func TestGoals(t *testing.T) {
	t.Parallel()
	g := goals(t, `
[[ratio]]
case = "c"
callers = 2
latency = "1ms"
stack = "ours"
against = "theirs"
goal = 2.0
floor = 1.5
[[bound]]
case = "c"
callers = 2
latency = "1ms"
stack = "ours"
figure = "allocs"
goal = 3
`)
	table := func(ours ...float64) []harness.Table {
		return []harness.Table{{Case: "c", Params: harness.Params{Callers: 2, Latency: time.Millisecond}, Rows: []harness.Row{
			{Stack: "theirs", Rate: []float64{10, 10, 10}},
			{Stack: "ours", Rate: ours, Allocs: []float64{2, 2, 2}},
		}}}
	}
	for _, tt := range []struct {
		ours           []float64
		verdict, below string
	}{
		{[]float64{25, 20, 21}, "| met |", ""},
		{[]float64{18, 17, 30}, "**not met**", ""},
		{[]float64{14, 13, 30}, "**not met**", "is 1.40, and the floor is 1.50"},
	} {
		var b strings.Builder
		g.Write(&b, table(tt.ours...))
		if got := b.String(); !strings.Contains(got, tt.verdict) {
			t.Errorf("rates %v: got %s, want %q in it", tt.ours, got, tt.verdict)
		}
		if got := sentences(g.Below(table(tt.ours...))); !strings.Contains(got, tt.below) || (tt.below == "") != (got == "") {
			t.Errorf("rates %v: below the floor: %q, want %q", tt.ours, got, tt.below)
		}
	}
	if got := g.Below(nil); len(got) != 1 {
		t.Errorf("nothing was measured, and the guard says %v", got)
	}
}

func TestGuarded(t *testing.T) {
	t.Parallel()
	g := goals(t, `
[[ratio]]
case = "c"
callers = 2
stack = "ours"
against = "theirs"
floor = 1.5
[[ratio]]
case = "d"
stack = "ours"
against = "theirs"
goal = 1.5
`)
	cases := g.Guarded([]harness.Case{
		{Name: "c", Params: []harness.Params{{Callers: 1}, {Callers: 2}}, Stacks: []harness.Stack{{Name: "theirs"}, {Name: "others"}, {Name: "ours"}}},
		{Name: "d", Params: []harness.Params{{}}, Stacks: []harness.Stack{{Name: "theirs"}, {Name: "ours"}}},
	})
	if len(cases) != 1 || len(cases[0].Stacks) != 2 || len(cases[0].Params) != 1 || cases[0].Params[0].Callers != 2 {
		t.Errorf("the guard runs %+v, want c with 2 callers, theirs and ours", cases)
	}
}

// What is promised is measured for twice as long as the rest of its case.
func TestPromised(t *testing.T) {
	t.Parallel()
	g := goals(t, `
[[ratio]]
case = "c"
callers = 1
n = 2
stack = "theirs"
against = "ours"
goal = 1.5
`)
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Promised = g.Promised
		tables, err := harness.Run(t.Context(), harness.Case{
			Name: "c", Params: []harness.Params{{Callers: 1, N: 1}, {Callers: 1, N: 2}},
			Stacks: []harness.Stack{sleeper("ours", 10*time.Millisecond), sleeper("theirs", 10*time.Millisecond)},
		}, o)
		if err != nil {
			t.Fatal(err)
		}
		if one, two := len(tables[0].Rows[0].Ratio), len(tables[1].Rows[0].Ratio); one != o.Rounds || two != 2*o.Rounds {
			t.Errorf("%d and %d rounds, want %d and, where a ratio is promised, %d", one, two, o.Rounds, 2*o.Rounds)
		}
	})
}

// What every row has in it is taken off round by round.
func TestBoundLess(t *testing.T) {
	t.Parallel()
	g := goals(t, `
[[bound]]
case = "c"
stack = "ours"
figure = "CPU ns"
less = "harness"
goal = 200
`)
	tables := []harness.Table{{Case: "c", Rows: []harness.Row{
		{Stack: "harness", Rate: []float64{1, 1, 1}, CPU: []time.Duration{100, 300, 250}},
		{Stack: "ours", Rate: []float64{1, 1, 1}, CPU: []time.Duration{290, 450, 460}},
	}}}
	if got, ok := g.Bound[0].Measured(tables); !ok || got != 190 {
		t.Errorf("got %g, %v, want the median of 190, 150 and 210", got, ok)
	}
	if _, ok := g.Bound[0].Measured([]harness.Table{{Case: "c", Rows: tables[0].Rows[1:]}}); ok {
		t.Error("measured without the row that is taken off")
	}
}

// A ratio below its floor is measured for longer, and all rounds count; a void
// row is not tried again.
func TestMoreRounds(t *testing.T) {
	t.Parallel()
	g := goals(t, `
[[ratio]]
case = "c"
stack = "ours"
against = "theirs"
floor = 1.5
[[ratio]]
case = "d"
stack = "ours"
against = "theirs"
floor = 1.5
`)
	table := func(name string, void error, ours ...float64) harness.Table {
		theirs := make([]float64, len(ours))
		for i := range theirs {
			theirs[i] = 1
		}
		return harness.Table{Case: name, Rows: []harness.Row{{Stack: "theirs", Rate: theirs}, {Stack: "ours", Rate: ours, Err: void}}}
	}
	tables := []harness.Table{table("c", nil, 1, 1, 1), table("d", errors.New("wrong"), 9)}
	below := g.Below(tables)
	if len(below) != 2 {
		t.Fatalf("below the floors: %v, want both", below)
	}
	stacks := []harness.Stack{{Name: "theirs"}, {Name: "ours"}}
	again := harness.Again(below, tables, []harness.Case{
		{Name: "c", Params: []harness.Params{{}}, Stacks: stacks},
		{Name: "d", Params: []harness.Params{{}}, Stacks: stacks},
	})
	if len(again) != 1 || again[0].Name != "c" {
		t.Fatalf("measured again: %v, want c", again)
	}
	for _, tt := range []struct {
		more  []float64
		short int
	}{
		{[]float64{2, 2, 2}, 1}, // with the first three the median is 2: only d is left
		{[]float64{1, 2, 2}, 2},
	} {
		all := []harness.Table{table("c", nil, 1, 1, 1), tables[1]}
		harness.Merge(all, []harness.Table{table("c", nil, tt.more...)})
		if got := g.Below(all); len(got) != tt.short {
			t.Errorf("after %v: %d below the floor, want %d: %v", tt.more, len(got), tt.short, got)
		}
	}
}
