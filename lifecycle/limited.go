package lifecycle

import (
	"context"
	"sync"
	"time"
)

// A limited context is what context.WithTimeoutCause returns, but made when
// somebody first looks at it. Many a Start or Stop never does, and the timer and
// the parent's list of children were a third of what a group cost. A watchdog
// keeps the time for those who do not look.
type limited struct {
	dog   *watchdog // its context is the parent
	until time.Time
	cause error

	once   sync.Once
	inner  context.Context
	cancel context.CancelFunc // nil if nobody looked in time
}

func (w *watchdog) limit(d time.Duration, cause error) *limited {
	return &limited{dog: w, until: time.Now().Add(limit(d)), cause: cause}
}

func (l *limited) context() context.Context {
	l.once.Do(func() { l.inner, l.cancel = context.WithDeadlineCause(l.dog.ctx, l.until, l.cause) })
	return l.inner
}

// over is what those get who look after release.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// release ends the context.
func (l *limited) release() {
	l.once.Do(func() { l.inner = over })
	if l.cancel != nil {
		l.cancel()
	}
}

// Deadline implements context.Context.
func (l *limited) Deadline() (time.Time, bool) {
	if until, ok := l.dog.ctx.Deadline(); ok {
		return earlier(until, l.until), true
	}
	return l.until, true
}

// Done implements context.Context.
func (l *limited) Done() <-chan struct{} { return l.context().Done() }

// Err implements context.Context.
func (l *limited) Err() error { return l.context().Err() }

// Value implements context.Context.
func (l *limited) Value(key any) any { return l.context().Value(key) }
