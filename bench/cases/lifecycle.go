package cases

import (
	"context"
	"errors"
	"fmt"

	"github.com/oklog/run"
	"go.uber.org/fx"
	"golang.org/x/sync/errgroup"

	"github.com/pedro-go/pedro/bench/harness"
	"github.com/pedro-go/pedro/lifecycle"
)

// component does nothing but count: what is measured is the library.
type component struct{ started, stopped *int }

func (c component) Start(context.Context) error { *c.started++; return nil }
func (c component) Stop(context.Context) error  { *c.stopped++; return nil }

// lifecycleStacks start and stop n components.
var lifecycleStacks = []struct {
	name string
	run  func(ctx context.Context, list []component) error
}{
	{"uber-go/fx", func(ctx context.Context, list []component) error {
		app := fx.New(fx.NopLogger, fx.Invoke(func(lc fx.Lifecycle) {
			for _, c := range list {
				lc.Append(fx.Hook{OnStart: c.Start, OnStop: c.Stop})
			}
		}))
		return errors.Join(app.Start(ctx), app.Stop(ctx))
	}},
	{"oklog/run", func(ctx context.Context, list []component) error {
		var g run.Group
		for _, c := range list {
			done := make(chan struct{})
			g.Add(func() error { <-done; return nil }, func(error) {
				_ = c.Start(ctx) // it knows no start: both are called here, in turn
				_ = c.Stop(ctx)
				close(done)
			})
		}
		g.Add(func() error { return nil }, func(error) {})
		return g.Run()
	}},
	{"errgroup, by hand", func(ctx context.Context, list []component) error {
		for _, c := range list {
			if err := c.Start(ctx); err != nil {
				return err
			}
		}
		g, ctx := errgroup.WithContext(ctx)
		quit := make(chan struct{})
		for range list {
			g.Go(func() error { <-quit; return nil })
		}
		close(quit)
		err := g.Wait()
		for _, c := range list {
			err = errors.Join(err, c.Stop(ctx))
		}
		return err
	}},
	{"pedro", func(ctx context.Context, list []component) error {
		g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithLogger(quiet))
		if err != nil {
			return err
		}
		for i, c := range list {
			g.Add(names[i], c)
		}
		return errors.Join(g.Start(ctx), g.Stop(ctx))
	}},
	{"pedro, independent", func(ctx context.Context, list []component) error {
		g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithLogger(quiet))
		if err != nil {
			return err
		}
		for i, c := range list {
			g.Add(names[i], c, lifecycle.After())
		}
		return errors.Join(g.Start(ctx), g.Stop(ctx))
	}},
}

const lifecycleSize = 100

var names = func() (list [lifecycleSize]string) {
	for i := range list {
		list[i] = fmt.Sprint("component ", i)
	}
	return list
}()

// Lifecycle is the price of an orderly start and stop, and what it is for.
func Lifecycle() []harness.Case {
	var stacks []harness.Stack
	for _, s := range lifecycleStacks {
		stacks = append(stacks, harness.Stack{Name: s.name, Ours: s.name[:5] == "pedro", Open: func(context.Context, harness.Params) (*harness.Running, error) {
			starts, stops := make([]int, lifecycleSize), make([]int, lifecycleSize) // one each: independent ones start at the same time
			list := make([]component, lifecycleSize)
			for i := range list {
				list[i] = component{&starts[i], &stops[i]}
			}
			return &harness.Running{
				Weight: lifecycleSize,
				Do: func(ctx context.Context, _, n int) error {
					if err := s.run(ctx, list); err != nil {
						return err
					}
					for i := range list {
						if starts[i] != stops[i] || starts[i] == 0 {
							return fmt.Errorf("%w: component %d was started %d times and stopped %d times", errWrong, i, starts[i], stops[i])
						}
					}
					return nil
				},
			}, nil
		}})
	}
	return []harness.Case{{
		Name: "lifecycle/start-stop",
		About: "Making, starting and stopping a group of 100 components that do nothing; counted in components. The peers give a component no time limit of its own; " +
			"oklog/run and errgroup start and stop in no order but that of addition.",
		Params: []harness.Params{{N: lifecycleSize}},
		Stacks: stacks,
	}, Rolling()}
}
