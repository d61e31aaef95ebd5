package cases

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/pedro-go/pedro/bench/harness"
)

// nodeAnswer is what a Node program says of a slice.
type nodeAnswer struct {
	Error     string
	Units     float64
	ElapsedMS float64
	P50MS     float64
	P99MS     float64
	Fast      float64
	Inserted  int64
}

func (s *Servers) openNodePG(ctx context.Context, url, op string, p harness.Params) (*harness.Running, error) {
	c, err := startNode(ctx, "pg.js", "DATABASE_URL="+url)
	if err != nil {
		return nil, err
	}
	return &harness.Running{
		Slice: func(ctx context.Context, callers int, d time.Duration) (harness.Sample, error) {
			question := map[string]any{"op": op, "callers": callers, "ms": d.Milliseconds(), "n": p.N}
			var want int64
			if p.N > 0 {
				var err error
				if want, err = s.readyItems(ctx, p.N, insertion(op)); err != nil {
					return harness.Sample{}, err
				}
			}
			var a nodeAnswer
			if err := c.ask(question, &a); err != nil {
				return harness.Sample{}, err
			}
			if a.Error != "" {
				return harness.Sample{}, fmt.Errorf("node: %s", a.Error)
			}
			if a.Inserted != want {
				return harness.Sample{}, fmt.Errorf("%w: %d rows inserted, want %d", errWrong, a.Inserted, want)
			}
			ms := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
			return harness.Sample{Units: a.Units, Elapsed: ms(a.ElapsedMS), P50: ms(a.P50MS), P99: ms(a.P99MS), Fast: a.Fast}, nil
		},
		Usage: c.usage,
		Reconnect: func(context.Context) error {
			var a nodeAnswer
			if err := c.ask(map[string]any{"op": "reconnect"}, &a); err != nil || a.Error == "" {
				return err
			}
			return fmt.Errorf("node: %s", a.Error)
		},
		Close: func() error { c.close(); return nil },
	}, nil
}

// usage is what a process has used, as far as the kernel knows.
func (c *child) usage() (harness.Usage, error) {
	cpu, err := processCPU(c.cmd.Process.Pid)
	return harness.Usage{CPU: cpu, Allocs: math.NaN(), Bytes: math.NaN()}, err
}
