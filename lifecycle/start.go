package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pedro-go/pedro/internal/backoff"
)

// Start starts the components, each when those before it have started. If one
// fails, those that are starting are cancelled, everything that was started is
// stopped within Config.StopBudget, and Start returns all errors: those of
// starting first, each a [ComponentError].
//
// ctx bounds the start only. Start returns [ErrAlreadyStarted] a second time,
// [ErrInvalidOrder] before anything was started, and [ErrStopped] if Stop was
// called before or meanwhile.
func (g *Group) Start(ctx context.Context) error {
	interrupted, err := g.start(ctx)
	return errors.Join(interrupted, err)
}

// start is Start. When it was cut short by ctx or Stop, and not by a failure,
// interrupted says why and which components were cut; err then has only what
// went wrong beyond that.
func (g *Group) start(ctx context.Context) (interrupted, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := g.beginStart(cancel); err != nil {
		return nil, err
	}
	defer close(g.startDone)
	g.opts.kubernetes.warn(g.opts.logger, g.cfg, g.opts.drainDelay)
	g.opts.logger.Info("times of the group", "stop_budget", g.cfg.StopBudget, "drain_delay", g.opts.drainDelay)
	g.announce(StateStarting)

	f := failures{ctx: ctx, cancel: cancel}
	dog := watch(ctx)
	defer dog.stop()
	walk(g.deps, func(i int) bool {
		if err := g.startMember(dog, g.members[i]); err != nil {
			f.add(err)
			return false
		}
		return ctx.Err() == nil
	})

	if g.endStart(ctx) {
		g.announce(StateRunning)
		return nil, nil
	}
	if len(f.errs) == 0 {
		interrupted = errors.Join(append([]error{context.Cause(ctx)}, f.cut...)...)
	}
	stopErr := g.stopAll(context.WithoutCancel(ctx))
	return interrupted, errors.Join(append(f.errs, stopErr)...)
}

// failures are what went wrong in a start. The first one ends it.
type failures struct {
	ctx    context.Context //nolint:containedctx // of the start, which this is a part of
	cancel context.CancelCauseFunc

	mu        sync.Mutex
	errs, cut []error // cut: those that failed because we cancelled them
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cause := context.Cause(f.ctx); cause != nil && !final(err) && (errors.Is(err, context.Canceled) || errors.Is(err, cause)) {
		f.cut = append(f.cut, err)
		return
	}
	f.errs = append(f.errs, err)
	f.cancel(err)
}

// beginStart moves from New to Starting.
func (g *Group) beginStart(cancel context.CancelCauseFunc) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.state == StateStopped && g.deps == nil:
		return ErrStopped
	case g.state != StateNew:
		return ErrAlreadyStarted
	}
	deps, err := resolve(g.members)
	if err != nil {
		return err
	}
	g.deps, g.stopStart, g.state = deps, cancel, StateStarting
	return nil
}

// endStart moves from Starting to Running, or to Stopping if something failed
// or Stop was called. It reports which.
func (g *Group) endStart(ctx context.Context) (running bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopStart = nil
	running = ctx.Err() == nil
	for _, m := range g.members {
		running = running && m.begun
	}
	if running {
		g.state = StateRunning
		return true
	}
	g.beginStopLocked()
	return false
}

// startMember starts a component within its limit, or makes a first attempt if
// it is optional and leaves the rest to the background.
func (g *Group) startMember(dog *watchdog, m *member) error {
	m.begun = true
	began := time.Now()
	if m.opts.optional {
		return g.startOptional(dog, m, began)
	}
	limited := dog.limit(g.startLimit(m), errStartTimeout)
	defer limited.release()
	err := g.attempt(limited, m, began, 1)
	if err != nil && m.opts.retry != nil {
		return g.startAgain(limited, m, began, err)
	}
	return err
}

// startAgain repeats a start that failed with err.
func (g *Group) startAgain(ctx *limited, m *member, began time.Time, err error) error {
	for n := 1; err != nil && !final(err); n++ {
		if m.opts.retry.Wait(ctx, n-1) != nil {
			return err // the last failure says more than the end of the time
		}
		err = g.attempt(ctx, m, began, n+1)
	}
	return err
}

// startOptional makes the first attempt.
func (g *Group) startOptional(dog *watchdog, m *member, began time.Time) error {
	err := g.attemptLimited(dog, m, began, 1)
	if err == nil || dog.ctx.Err() != nil {
		return err
	}
	if !final(err) {
		m.late = make(chan struct{})
		go g.startLate(context.WithoutCancel(dog.ctx), m, began)
	}
	return nil
}

// startLate goes on trying to start an optional component until it has started,
// must not be tried again, or the group stops.
func (g *Group) startLate(ctx context.Context, m *member, began time.Time) {
	defer close(m.late)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-g.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	dog := watch(ctx)
	defer dog.stop()
	pause := backoff.Policy{Min: DefaultRetryMin, Max: DefaultRetryMax}
	if m.opts.retry != nil {
		pause = *m.opts.retry
	}
	for n := 1; pause.Wait(ctx, n-1) == nil; n++ {
		if err := g.attemptLimited(dog, m, began, n+1); err == nil || final(err) {
			return
		}
	}
}

// attemptLimited is an attempt with the limit for itself. That is for optional
// components; the others are bounded over all attempts.
func (g *Group) attemptLimited(dog *watchdog, m *member, began time.Time, n int) error {
	limited := dog.limit(g.startLimit(m), errStartTimeout)
	defer limited.release()
	return g.attempt(limited, m, began, n)
}

// attempt calls Start once and records the outcome.
func (g *Group) attempt(ctx *limited, m *member, began time.Time, n int) error {
	g.update(m, func(r *Report) { r.State, r.Attempts = ComponentStarting, n })
	err := call(m.labelled, ctx, m.c.Start)
	return g.startEnded(m, time.Since(began), n, err)
}

// startEnded records the outcome of a Start.
func (g *Group) startEnded(m *member, took time.Duration, attempt int, err error) error {
	if err != nil {
		err = &ComponentError{Name: m.name, Phase: PhaseStart, Err: err}
	}
	g.update(m, func(r *Report) {
		r.Err = err
		if err == nil {
			r.State, r.Started = ComponentRunning, took
		} else if !m.opts.optional || final(err) {
			r.State = ComponentFailed
		}
	})
	g.observe(Event{Component: m.name, Phase: PhaseStart, Duration: took, Attempt: attempt, Err: err})
	if f, ok := m.c.(Failer); ok && err == nil {
		m.watched = make(chan struct{})
		go g.watch(m, f)
	}
	return err
}

func (g *Group) startLimit(m *member) time.Duration {
	return cmp.Or(m.opts.startTimeout, g.cfg.StartTimeout)
}

// final reports whether a start must not be tried again: a call that hangs may
// still be at work, and a panic is a bug.
func final(err error) bool {
	if _, ok := errors.AsType[*HungError](err); ok {
		return true
	}
	_, ok := errors.AsType[*PanicError](err)
	return ok
}

// errorDetails returns the stacks that an error carries, for the log.
func errorDetails(err error) slog.Attr {
	if hung, ok := errors.AsType[*HungError](err); ok {
		return slog.String("stacks", hung.Stacks)
	}
	if panicked, ok := errors.AsType[*PanicError](err); ok {
		return slog.String("stacks", string(panicked.Stack))
	}
	return slog.Attr{}
}
