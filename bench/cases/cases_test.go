package cases_test

import (
	"slices"
	"testing"

	"github.com/pedro-go/pedro/bench/cases"
	"github.com/pedro-go/pedro/bench/harness"
)

// A goal about a case, parameters or a stack that no longer exist would be
// passed over in silence.
func TestGoalsAreMeasured(t *testing.T) {
	t.Parallel()
	goals, err := harness.ReadGoals("../floors.toml")
	if err != nil {
		t.Fatal(err)
	}
	all := (&cases.Servers{}).All()
	for _, g := range slices.Concat(goals.Ratio, goals.Bound) {
		i := slices.IndexFunc(all, func(c harness.Case) bool { return c.Name == g.Case })
		if i < 0 {
			t.Errorf("no case %q", g.Case)
			continue
		}
		if !slices.Contains(all[i].Params, g.Params()) {
			t.Errorf("%s: not measured with %v", g.Case, g.Params())
		}
		for _, name := range []string{g.Stack, g.Against, g.Less} {
			if name != "" && !slices.ContainsFunc(all[i].Stacks, func(s harness.Stack) bool { return s.Name == name }) {
				t.Errorf("%s: no stack %q", g.Case, name)
			}
		}
	}
}
