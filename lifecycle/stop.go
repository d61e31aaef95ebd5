package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Drain says good-bye while everything still works: it calls the functions of
// [WithDrain] and tells each [Drainer]. It does not block and does nothing
// unless the group runs. Stop does the same first, if Drain was not called, and
// then waits for the rest of the drain delay.
func (g *Group) Drain() {
	g.mu.Lock()
	if g.state != StateRunning {
		g.mu.Unlock()
		return
	}
	g.state, g.drained = StateDraining, time.Now()
	g.mu.Unlock()

	for _, begin := range g.opts.drainBegin {
		if err := protect(func() error { begin(); return nil }); err != nil {
			g.drainFailed("WithDrain", err)
		}
	}
	for _, m := range g.members {
		if d, ok := m.c.(Drainer); ok {
			if err := protect(func() error { d.Drain(); return nil }); err != nil {
				g.drainFailed(m.name, err)
			}
		}
	}
	g.announce(StateDraining)
}

func (g *Group) drainFailed(name string, err error) {
	g.opts.logger.LogAttrs(context.Background(), slog.LevelError, "drain hook failed", slog.String("component", name), slog.Any("error", err), errorDetails(err))
}

// Stop drains a running group and stops its components, each when those that
// started after it have stopped, within ctx and Config.StopBudget. It goes on
// after a failure and after the end of its time: then each component still gets
// its Stop, with a context that is done. It returns the join of all errors,
// each a [ComponentError]; that of a component that ended by itself meanwhile is
// among them.
//
// Stop during a Start cuts the start short and waits for it. Without a Start it
// does nothing but end the group. A second Stop waits for the first and returns
// nil, or the cause of ctx's end if that comes first.
func (g *Group) Stop(ctx context.Context) error {
	g.mu.Lock()
	state := g.state
	if state == StateNew {
		g.state = StateStopped
		g.stopDone = make(chan struct{})
		close(g.stopDone)
		close(g.quit)
		g.mu.Unlock()
		return nil
	}
	if state == StateStarting {
		if g.stopStart != nil {
			g.stopStart(ErrStopped)
		}
		g.mu.Unlock()
		return wait(ctx, g.startDone) // Start does the stopping and has the errors
	}
	g.mu.Unlock()

	g.Drain()
	g.mu.Lock()
	if g.stopDone != nil {
		done := g.stopDone
		g.mu.Unlock()
		return wait(ctx, done)
	}
	g.beginStopLocked()
	g.mu.Unlock()
	return g.stopAll(ctx)
}

// wait waits for done or the end of ctx.
func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("lifecycle: stop: %w", context.Cause(ctx))
	}
}

// beginStopLocked claims the stop for the caller, who holds g.mu.
func (g *Group) beginStopLocked() {
	g.stopDone = make(chan struct{})
	if g.state != StateDraining {
		g.state = StateStopping
	}
}

// forceStop ends the time of a stop that is under way or to come.
func (g *Group) forceStop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forced = true
	if g.force != nil {
		g.force(ErrForced)
	}
}

// stopAll waits for the rest of the drain delay and stops what was started.
func (g *Group) stopAll(ctx context.Context) error {
	defer close(g.stopDone)
	ctx, cancelBudget := context.WithTimeoutCause(ctx, limit(g.cfg.StopBudget), errStopBudget)
	defer cancelBudget()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	g.mu.Lock()
	g.force = cancel
	if g.forced {
		cancel(ErrForced)
	}
	var delay time.Duration
	if !g.drained.IsZero() {
		delay = g.opts.drainDelay - time.Since(g.drained)
	}
	g.mu.Unlock()

	if delay > 0 {
		t := time.NewTimer(delay)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
	close(g.quit)
	g.setState(StateStopping)

	errs := make([]error, len(g.members), len(g.members)+1)
	dog := watch(ctx)
	defer dog.stop()
	walk(reverse(g.deps), func(i int) bool {
		errs[i] = g.stopMember(dog, g.members[i])
		return true
	})
	if cause := context.Cause(ctx); errors.Is(cause, ErrForced) {
		errs = append(errs, ErrForced)
	}
	g.setState(StateStopped)
	return errors.Join(errs...)
}

// stopMember stops a component for which Start was called.
func (g *Group) stopMember(dog *watchdog, m *member) error {
	if !m.begun {
		return nil
	}
	if m.late != nil {
		<-m.late // ends with g.quit, at the latest when its call is given up
	}
	last := g.lastWords(m)
	g.update(m, func(r *Report) { r.State = ComponentStopping })
	limited := dog.limit(cmp.Or(m.opts.stopTimeout, g.cfg.StopTimeout), errStopTimeout)
	defer limited.release()
	began := time.Now()
	err := call(m.labelled, limited, m.c.Stop)
	return errors.Join(last, g.stopEnded(m, time.Since(began), err))
}

// stopEnded records the outcome of a Stop.
func (g *Group) stopEnded(m *member, took time.Duration, err error) error {
	state := ComponentStopped
	if err != nil {
		if _, hung := errors.AsType[*HungError](err); hung {
			state = ComponentAbandoned
		}
		err = &ComponentError{Name: m.name, Phase: PhaseStop, Err: err}
	}
	g.update(m, func(r *Report) {
		r.State, r.Stopped = state, took
		if err != nil {
			r.Err = err
		}
	})
	g.observe(Event{Component: m.name, Phase: PhaseStop, Duration: took, Err: err})
	return err
}
