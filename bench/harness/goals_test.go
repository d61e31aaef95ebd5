package harness_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		if got := strings.Join(g.Below(table(tt.ours...)), "\n"); !strings.Contains(got, tt.below) || (tt.below == "") != (got == "") {
			t.Errorf("rates %v: below the floor: %q, want %q", tt.ours, got, tt.below)
		}
	}
	if got := g.Below(nil); len(got) != 1 {
		t.Errorf("nothing was measured, and the guard says %q", got)
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
