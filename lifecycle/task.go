package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/pedro-go/pedro/internal/backoff"
)

// Go adds a background task. run is called in its place in the order and goes
// on until the group stops; then its context ends and it has until its stop
// limit to return. What it returns then is ignored if it is nil or the
// context's error; anything else is the error of its stop.
//
// If run returns earlier, [Group.Run] begins to stop the group and returns its
// error, or [ErrEnded] if it was nil; a panic is a [PanicError]. With [Retry] a
// failed task is started again instead, and with [Optional] the group goes on
// without it. For work that is done once, such as a migration, use Add with
// [Funcs].
//
// Go panics as [Group.Add] does.
func (g *Group) Go(name string, run func(ctx context.Context) error, opts ...AddOption) {
	if run == nil {
		panic("lifecycle: Go of a nil function as " + name)
	}
	t := &task{run: run, failed: make(chan error, 1), done: make(chan struct{})}
	g.Add(name, t, opts...)
	m := g.members[len(g.members)-1]
	t.restart, m.opts.retry = m.opts.retry, nil
	t.ended = func(took time.Duration, attempt int, err error) {
		g.update(m, func(r *Report) { r.Attempts, r.Err = attempt, err })
		g.observe(Event{Component: name, Phase: PhaseRun, Duration: took, Attempt: attempt, Err: err})
	}
}

// task makes a function a Component.
type task struct {
	run     func(ctx context.Context) error
	restart *backoff.Policy                                  // nil: never
	ended   func(took time.Duration, attempt int, err error) // is told of each failure that is followed by a restart

	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned for good
	failed chan error
}

// Start implements Component.
func (t *task) Start(ctx context.Context) error {
	ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(t.done)
		if err := t.loop(ctx); err != nil {
			t.failed <- err
		}
	}()
	return nil
}

// loop calls run until it may not be called again, and returns its error. That
// is nil only at the end of ctx.
func (t *task) loop(ctx context.Context) error {
	failures := 0
	for attempt := 1; ; attempt++ {
		began := time.Now()
		err := t.call(ctx)
		took := time.Since(began)
		switch {
		case ctx.Err() != nil:
			if errors.Is(err, context.Canceled) {
				return nil // asked to end, it says so
			}
			return err
		case err == nil:
			return ErrEnded
		case t.restart == nil:
			return err
		}
		t.ended(took, attempt, err)
		if took >= t.restart.Max {
			failures = 0
		}
		if t.restart.Wait(ctx, failures) != nil {
			return nil //nolint:nilerr // asked to end, and its failure has been told
		}
		failures++
	}
}

// call runs the function on a goroutine of its own, so that a Goexit ends no
// more than that.
func (t *task) call(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() { done <- err }()
		err = protect(func() error { return t.run(ctx) })
	}()
	return <-done
}

// Stop implements Component. It waits for run without an eye on ctx: the group
// bounds the call and reports the stacks of a run that hangs. Nobody waits for
// its failure any more, so Stop returns it.
func (t *task) Stop(context.Context) error {
	if t.cancel == nil { // not started
		return nil
	}
	t.cancel()
	<-t.done
	select {
	case err := <-t.failed:
		if errors.Is(err, ErrEnded) { // just before it was asked to
			return nil
		}
		return err
	default:
		return nil
	}
}

// Failed implements Failer.
func (t *task) Failed() <-chan error { return t.failed }
