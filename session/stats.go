package session

import (
	"sync/atomic"
	"time"
)

// Stats are the counts of a manager since it was made, and its state now.
type Stats struct {
	Backend       string    // redis, express, gorilla or memory
	FallbackSince time.Time // since when memory answers for Redis; zero while it does not
	Waiting       int       // sessions and revocations that Redis does not know yet
	MemoryBytes   int64     // roughly what is remembered in this process

	Created     int64            // sessions made
	Logins      int64            // of them, or of those there were, logged in
	Regenerated int64            // new IDs given
	Destroyed   int64            // logged out
	Revoked     int64            // ended by Revoke methods and MaxPerUser
	Loaded      int64            // requests that used an existing session
	FromMemory  int64            // of them, without asking Redis
	Rejected    map[Reason]int64 // cookies that led to no session
	Merged      int64            // saves that found another save before them
	LateWrites  int64            // changes dropped because the session had ended
	Touches     int64            // saves of nothing but use
	Replayed    int64            // sessions brought over after an outage
	Failed      int64            // saves that failed
	Largest     int64            // the largest session saved, in bytes
}

// counters are what Stats is made of.
type counters struct {
	created, logins, regenerated, destroyed, revoked, loaded, fromMemory atomic.Int64
	merged, lateWrites, touches, replayed, failed, largest               atomic.Int64
	rejected                                                             map[Reason]*atomic.Int64
}

func newCounters() *counters {
	c := &counters{rejected: map[Reason]*atomic.Int64{}}
	for _, r := range []Reason{ReasonForged, ReasonUnknown, ReasonRetired, ReasonBinding, ReasonUndecodable} {
		c.rejected[r] = new(atomic.Int64)
	}
	return c
}

// saw notes the size of a session.
func (c *counters) saw(n int) {
	for {
		old := c.largest.Load()
		if int64(n) <= old || c.largest.CompareAndSwap(old, int64(n)) {
			return
		}
	}
}

// Stats returns the counts so far.
func (m *Manager) Stats() Stats {
	c := m.stats
	s := Stats{
		Backend: m.backendName(), FallbackSince: m.store.fallbackSince(), Waiting: m.store.waiting(), MemoryBytes: m.store.live.bytes(),
		Created: c.created.Load(), Logins: c.logins.Load(), Regenerated: c.regenerated.Load(), Destroyed: c.destroyed.Load(),
		Revoked: c.revoked.Load(), Loaded: c.loaded.Load(), FromMemory: c.fromMemory.Load(), Rejected: map[Reason]int64{},
		Merged: c.merged.Load(), LateWrites: c.lateWrites.Load(), Touches: c.touches.Load(), Replayed: c.replayed.Load(),
		Failed: c.failed.Load(), Largest: c.largest.Load(),
	}
	for reason, n := range c.rejected {
		s.Rejected[reason] = n.Load()
	}
	return s
}

func (m *Manager) backendName() string {
	switch {
	case m.opts.gorilla != nil:
		return "gorilla"
	case m.link == nil:
		return "memory"
	case m.opts.express != nil:
		return "express"
	default:
		return "redis"
	}
}
