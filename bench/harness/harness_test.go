package harness_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/bench/harness"
)

func sleeper(name string, d time.Duration) harness.Stack {
	return harness.Stack{Name: name, Open: func(context.Context, harness.Params) (*harness.Running, error) {
		calls := 0.0
		return &harness.Running{
			Do:       func(context.Context, int, int) error { time.Sleep(d); calls++; return nil },
			Counters: func() map[string]float64 { return map[string]float64{"calls": calls} },
		}, nil
	}}
}

func options() harness.Options {
	return harness.Options{Rounds: 5, Slice: time.Second, Warmup: time.Second, Log: func(string, ...any) {}}
}

func TestRatios(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tables, err := harness.Run(t.Context(), harness.Case{
			Params: []harness.Params{{}},
			Stacks: []harness.Stack{sleeper("slow", 10*time.Millisecond), sleeper("fast", 2*time.Millisecond)},
		}, options())
		if err != nil {
			t.Fatal(err)
		}
		rows := tables[0].Rows
		if got := harness.Median(rows[1].Ratio); got < 4.9 || got > 5.1 {
			t.Errorf("ratio %.2f, want 5", got)
		}
		if got := harness.Median(rows[0].Rate); got < 99 || got > 101 {
			t.Errorf("rate %.1f, want 100", got)
		}
		if got := harness.Median(rows[0].P50); got < 10*time.Millisecond || got > 12*time.Millisecond {
			t.Errorf("median latency %v, want 10ms", got)
		}
		if got := harness.Median(rows[0].Counters["calls"]); got != 1 {
			t.Errorf("%g calls for each unit, want 1", got)
		}
		if len(rows[0].Ratio) != 5 {
			t.Errorf("%d rounds, want 5", len(rows[0].Ratio))
		}
	})
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 9, 2}, 3}} {
		if got := harness.Median(test.values); got != test.want {
			t.Errorf("Median(%v) = %g, want %g", test.values, got, test.want)
		}
	}
}

func TestWrongAnswerVoidsTheRow(t *testing.T) {
	t.Parallel()
	wrong := errors.New("wrong")
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		tables, err := harness.Run(t.Context(), harness.Case{
			Params: []harness.Params{{}},
			Stacks: []harness.Stack{sleeper("good", time.Millisecond), {Name: "bad", Open: func(context.Context, harness.Params) (*harness.Running, error) {
				return &harness.Running{Do: func(context.Context, int, int) error {
					time.Sleep(time.Millisecond)
					if calls++; calls == 1500 {
						return wrong
					}
					return nil
				}}, nil
			}}},
		}, options())
		if err != nil {
			t.Fatal(err)
		}
		if got := tables[0].Rows[1].Err; !errors.Is(got, wrong) {
			t.Errorf("the row's error is %v, want the wrong answer's", got)
		}
		if tables[0].Rows[0].Err != nil {
			t.Errorf("the other row is void as well: %v", tables[0].Rows[0].Err)
		}
	})
}
