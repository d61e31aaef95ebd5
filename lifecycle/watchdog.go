package lifecycle

import (
	"context"
	"sync"
	"time"
)

// A watchdog bounds the calls of a start or a stop. One goroutine does for all
// of them what would cost each a timer and a select.
type watchdog struct {
	ctx  context.Context //nolint:containedctx // of the start or stop, which the watchdog is a part of
	wake chan struct{}   // somebody's time is up before next
	quit chan struct{}

	mu    sync.Mutex
	calls []*watched
	next  time.Time // when to look again
}

// watched is a call under way.
type watched struct {
	end   time.Time  // when it counts as hung
	done  chan error // gets its error, or errHung if that comes first
	index int        // in calls
}

// watch begins to watch over calls that end with ctx at the latest.
func watch(ctx context.Context) *watchdog {
	w := &watchdog{ctx: ctx, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	w.next = time.Now().Add(limit(-1))
	go w.run()
	return w
}

func (w *watchdog) stop() { close(w.quit) }

func (w *watchdog) run() {
	timer := time.NewTimer(limit(-1))
	defer timer.Stop()
	over := w.ctx.Done()
	for {
		select {
		case <-w.quit:
			return
		case <-over:
			over = nil
			timer.Reset(w.look(time.Now().Add(grace)))
			continue
		case <-w.wake:
		case <-timer.C:
		}
		timer.Reset(w.look(time.Time{}))
	}
}

// look gives up the calls whose time is up and returns when the next one's is.
// No call has time beyond latest, unless that is zero.
func (w *watchdog) look(latest time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.next = now.Add(limit(-1))
	for _, c := range w.calls {
		if !latest.IsZero() && latest.Before(c.end) {
			c.end = latest
		}
		if now.Before(c.end) {
			if c.end.Before(w.next) {
				w.next = c.end
			}
			continue
		}
		select {
		case c.done <- errHung:
		default: // it has been told, or has just returned
		}
	}
	return w.next.Sub(now)
}

// add watches over a call.
func (w *watchdog) add(c *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() != nil {
		c.end = earlier(c.end, time.Now().Add(grace))
	}
	c.index = len(w.calls)
	w.calls = append(w.calls, c)
	if c.end.Before(w.next) {
		w.next = c.end
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// remove forgets a call.
func (w *watchdog) remove(c *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.calls) - 1
	w.calls[c.index] = w.calls[last]
	w.calls[c.index].index = c.index
	w.calls[last] = nil
	w.calls = w.calls[:last]
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
