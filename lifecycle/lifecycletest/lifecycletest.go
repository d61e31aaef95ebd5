// Package lifecycletest checks that a type keeps the contract of
// [lifecycle.Component].
package lifecycletest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

// patience is how long a call may take that has to return "at once": generous,
// because it tells a hang from a busy machine.
const patience = 10 * time.Second

// Run runs one subtest for each clause of the contract. newComponent returns a
// fresh component; its Start is expected to succeed within 30 seconds. Each
// component is stopped before its subtest ends.
func Run(t *testing.T, newComponent func(t *testing.T) lifecycle.Component) {
	t.Helper()
	t.Run("StartAndStop", func(t *testing.T) {
		c := newComponent(t)
		start(t, c)
		stop(t, c, "Stop after Start")
	})
	t.Run("StartContextBoundsStartOnly", func(t *testing.T) {
		c := newComponent(t)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if err := c.Start(ctx); err != nil {
			t.Fatalf("Start = %v, want nil", err)
		}
		cancel()
		if p, ok := c.(interface {
			Ping(ctx context.Context) error
		}); ok {
			if err := p.Ping(t.Context()); err != nil {
				t.Errorf("Ping after the end of Start's context = %v, want nil: work must not go on under that context", err)
			}
		}
		stop(t, c, "Stop")
	})
	t.Run("StopWithoutStart", func(t *testing.T) {
		stop(t, newComponent(t), "Stop without Start")
	})
	t.Run("StopTwice", func(t *testing.T) {
		c := newComponent(t)
		start(t, c)
		stop(t, c, "the first Stop")
		stop(t, c, "the second Stop")
	})
	t.Run("StopConcurrently", func(t *testing.T) {
		c := newComponent(t)
		start(t, c)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { stop(t, c, "a concurrent Stop") })
		}
		wg.Wait()
	})
	t.Run("StopAfterFailedStart", func(t *testing.T) {
		c := newComponent(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		// Start may succeed all the same, if it has nothing to wait for.
		within(t, "Start with a context that is done", func() { _ = c.Start(ctx) })
		stop(t, c, "Stop after it")
	})
	t.Run("StopReturnsWhenItsContextIsDone", func(t *testing.T) {
		c := newComponent(t)
		start(t, c)
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		cancel()
		within(t, "Stop with a context that is done", func() {
			if err := c.Stop(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("Stop = %v, want nil or an error that wraps the context's", err)
			}
		})
		stop(t, c, "the Stop after it")
	})
}

func start(t *testing.T, c lifecycle.Component) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Start(ctx); err != nil {
		t.Fatalf("Start = %v, want nil", err)
	}
}

func stop(t *testing.T, c lifecycle.Component, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	within(t, what, func() {
		if err := c.Stop(ctx); err != nil {
			t.Errorf("%s = %v, want nil", what, err)
		}
	})
}

// within fails the test if f does not return.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(2 * patience):
		t.Fatalf("%s did not return within %v", what, 2*patience)
	}
}
