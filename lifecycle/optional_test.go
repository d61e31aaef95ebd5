package lifecycle_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

// TestOptionalIsGivenUp shows that a Start that hangs or panics is not called
// again, be it the first or one in the background.
func TestOptionalIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]int64{"at once": 0, "later": 2} {
		for kind, end := range map[string]func(release <-chan struct{}){
			"panics": func(<-chan struct{}) { panic(errBoom) },
			"hangs":  func(release <-chan struct{}) { <-release },
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					release := make(chan struct{})
					defer close(release)
					var calls atomic.Int64 // what hangs is not waited for
					stops := 0
					g := newGroup(t, lifecycle.Config{})
					g.Add("x", lifecycle.Funcs{
						OnStart: func(context.Context) error {
							if calls.Add(1) > good {
								end(release)
							}
							return errBoom
						},
						OnStop: func(context.Context) error { stops++; return nil },
					}, lifecycle.Optional(), lifecycle.Retry(time.Second, time.Second), lifecycle.StartTimeout(time.Second))
					if err := g.Start(t.Context()); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
					r := g.Report()[0]
					if calls.Load() != good+1 || r.State != lifecycle.ComponentFailed || !isFinal(r.Err) {
						t.Errorf("%d calls, report %+v, want %d and a component that has failed", calls.Load(), r, good+1)
					}
					if err := g.Stop(t.Context()); err != nil || stops != 1 {
						t.Errorf("Stop = %v, and %d of the component, want nil and 1", err, stops)
					}
				})
			})
		}
	}
}

func isFinal(err error) bool {
	_, hung := errors.AsType[*lifecycle.HungError](err)
	_, panicked := errors.AsType[*lifecycle.PanicError](err)
	return hung || panicked
}
