package lifecycle_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

// TestTaskFailsAtItsStop shows what a task may return when it is asked to end.
func TestTaskFailsAtItsStop(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end  func(ctx context.Context) error
		want error // nil: none
	}{
		"nil":                 {func(context.Context) error { return nil }, nil},
		"the context's error": {context.Context.Err, nil},
		"its own":             {func(context.Context) error { return errBoom }, errBoom},
		"a panic":             {func(context.Context) error { panic(errBoom) }, errBoom},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				events := 0
				g := newGroup(t, lifecycle.Config{}, lifecycle.WithObserver(func(e lifecycle.Event) {
					if e.Err != nil {
						events++
					}
				}))
				g.Go("task", func(ctx context.Context) error { <-ctx.Done(); return test.end(ctx) })
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := g.Run(ctx)
				if test.want == nil {
					if err != nil || events != 0 {
						t.Errorf("Run = %v with %d failures, want nil", err, events)
					}
					return
				}
				if !errors.Is(componentError(t, err, "task", lifecycle.PhaseStop), test.want) || len(flatten(err)) != 1 || events != 1 {
					t.Errorf("Run = %v with %d failures, want %v once", err, events, test.want)
				}
				if r := g.Report()[0]; !errors.Is(r.Err, test.want) {
					t.Errorf("report %+v, want the error in it", r)
				}
			})
		})
	}
}

// mortal is a Failer that fails when it is told to.
type mortal struct {
	lifecycle.Funcs

	failed chan error
}

func (m mortal) Failed() <-chan error { return m.failed }

// TestFailureDuringTheStop has components end by themselves when nobody waits
// for it any more, and their own Stop has not come yet.
func TestFailureDuringTheStop(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end  error
		opts []lifecycle.AddOption
		want bool
	}{
		"fails":              {errBoom, nil, true},
		"fails, optional":    {errBoom, []lifecycle.AddOption{lifecycle.Optional()}, false},
		"nothing more to do": {nil, nil, false},
	} {
		for kind, add := range map[string]func(g *lifecycle.Group, end <-chan error){
			"task": func(g *lifecycle.Group, end <-chan error) {
				g.Go("x", func(context.Context) error { return <-end }, test.opts...)
			},
			"in a group": func(g *lifecycle.Group, end <-chan error) {
				inner := newGroup(t, lifecycle.Config{})
				inner.Go("task", func(context.Context) error { return <-end })
				g.Add("x", inner, test.opts...)
			},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					end := make(chan error, 1)
					g := newGroup(t, lifecycle.Config{})
					add(g, end)
					g.Add("http", lifecycle.Funcs{OnStop: func(context.Context) error {
						end <- test.end
						time.Sleep(time.Second)
						return nil
					}})
					if err := g.Start(t.Context()); err != nil {
						t.Fatal(err)
					}
					err := g.Stop(t.Context())
					if !test.want {
						if err != nil {
							t.Errorf("Stop = %v, want nil", err)
						}
						return
					}
					if got := componentError(t, err, "x", lifecycle.PhaseRun); !errors.Is(got, errBoom) || len(flatten(err)) != 1 {
						t.Errorf("Stop = %v, want the failure alone", err)
					}
				})
			})
		}
	}
}

// TestFailureBesideTheStop has a component end by itself and the group be
// stopped at once, whichever is seen first.
func TestFailureBesideTheStop(t *testing.T) {
	t.Parallel()
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			m := mortal{failed: make(chan error, 1)}
			g := newGroup(t, lifecycle.Config{})
			g.Add("x", m)
			ctx, cancel := context.WithCancel(t.Context())
			done := run(ctx, g)
			synctest.Wait()
			m.failed <- errBoom
			cancel()
			err := <-done
			if got := componentError(t, err, "x", lifecycle.PhaseRun); !errors.Is(got, errBoom) || len(flatten(err)) != 1 {
				t.Errorf("Run = %v, want the failure once", err)
			}
		})
	}
}
