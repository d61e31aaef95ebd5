package health

import (
	"slices"
	"sync/atomic"
	"time"
)

// heartbeat is a loop of the process that must not fall silent.
type heartbeat struct {
	name       string
	maxSilence time.Duration
	last       atomic.Int64 // nanoseconds since the Checker was made
}

// Heartbeat watches a loop of the process itself: /live is 503 while beat was
// not called for longer than maxSilence, so that the platform restarts a
// process that is stuck. The silence begins now. beat is cheap and safe for
// concurrent use. Do not call it depending on anything outside the process: a
// restart mends only the process.
//
// Heartbeat panics if maxSilence is not positive: a mistake in the host's
// wiring, which would make the process one that is never alive.
func (c *Checker) Heartbeat(name string, maxSilence time.Duration) (beat func()) {
	if maxSilence <= 0 {
		panic("health: Heartbeat of " + name + " needs a silence that is longer than nothing")
	}
	h := &heartbeat{name: name, maxSilence: maxSilence}
	beat = func() { h.last.Store(int64(time.Since(c.began))) }
	beat()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beats = append(slices.Clip(c.beats), h)
	c.rebuildLocked()
	return beat
}

// Alive reports whether all heartbeats beat: what /live says. It is made for
// lifecycle.WithSystemd, whose watchdog asks it.
func (c *Checker) Alive() bool {
	return !slices.ContainsFunc(c.snapshot().beats, c.silent)
}

func (c *Checker) silent(h *heartbeat) bool {
	return time.Since(c.began)-time.Duration(h.last.Load()) > h.maxSilence
}
