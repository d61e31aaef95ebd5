package session

import (
	"context"
	"time"
)

// What is done while Redis is away, and how it gets there afterwards. Every
// entry remembers the last that Redis was known to have (base), so that the
// return is the same three-way merge as any save: what changed here is put on
// top of what is there. What is no longer there was ended elsewhere and stays
// ended.

// keep holds a new session in memory. The caller holds e.mu.
func (st *store) keep(e *entry, r *record) {
	if st.back == nil {
		e.view.Store(&view{rec: r})
	} else {
		e.view.Store(&view{rec: r, dirty: true})
		st.note(e)
	}
	st.live.pin(e)
	st.live.grew(e, sizeOf(r))
}

// updateMemory carries a plan out in memory. attempt is what may have reached
// Redis all the same. The caller holds e.mu.
func (st *store) updateMemory(e *entry, f func(*record) (*plan, error), attempt *view) (*record, error) {
	v := e.view.Load()
	switch {
	case v == nil || v.rec == nil && !v.gone:
		if st.back == nil {
			return nil, errGone
		}
		return nil, unavailable(st.cause())
	case v.gone:
		return nil, errGone
	}
	p, err := st.planned(v.rec, f)
	if p == nil || err != nil {
		return v.rec, err
	}
	if st.back != nil && !e.dirty && st.cfg.Fallback != FallbackMemory {
		return nil, unavailable(st.cause())
	}
	if _, err := st.encode(p.next, p.was, e.id); err != nil { // too large now, not at the return
		return nil, err
	}
	if p.to.token != "" {
		st.moveMemory(e, v, p, attempt)
		return p.next, nil
	}
	if st.back != nil && !e.dirty {
		e.base, e.baseRaw, e.attempt = v.rec, v.raw, attempt
	}
	if st.back != nil {
		e.noteUpdates(p)
	}
	st.keep(e, p.next)
	return p.next, nil
}

// noteUpdates remembers the Updates of a plan, and forgets those that a Set has
// overwritten. Beyond maxUpdates of a key its value counts, as that of a Set.
func (e *entry) noteUpdates(p *plan) {
	for key, c := range p.changes {
		if c.blind || len(e.updates[key]) >= maxUpdates {
			delete(e.updates, key)
			continue
		}
		if e.updates == nil {
			e.updates = map[string][]update{}
		}
		e.updates[key] = append(e.updates[key], update{c, p.mark})
	}
}

const maxUpdates = 1000

// moveMemory gives a session a new ID in memory.
func (st *store) moveMemory(e *entry, v *view, p *plan, attempt *view) {
	to := st.live.entry(p.to)
	to.mu.Lock() // nobody else knows this ID yet
	defer to.mu.Unlock()
	if st.back != nil {
		if e.dirty && e.baseRaw == nil && e.attempt == nil {
			to.origin = e.origin // the ID between never reached Redis
		} else {
			base := v.rec
			if e.dirty && e.base != nil {
				base = e.base
			}
			to.origin = &origin{id: e.id, base: base, needed: !p.independent, left: p.left, before: e.origin}
		}
		if v.rec.User == "" || v.rec.User == p.next.User {
			to.updates = e.updates
		}
		to.noteUpdates(p)
		to.attempt = attempt
		to.spared.Store(e.spared.Load())
		e.origin = nil // it is to's now
		st.forget(e)
	}
	// Redis still has what was there, and is not asked before it knows better.
	e.view.Store(&view{gone: p.left == nil, rec: p.left, dirty: to.origin != nil && to.origin.id == e.id})
	st.keep(to, p.next)
}

// tombstone ends a session in memory. The caller holds e.mu.
func (st *store) tombstone(e *entry) {
	if st.back == nil {
		e.view.Store(&view{gone: true})
		return
	}
	v := e.view.Load()
	t := &view{gone: true, dirty: true}
	if v != nil {
		t.rec = v.rec
	}
	e.view.Store(t)
	st.note(e)
}

// note puts an entry into the journal.
func (st *store) note(e *entry) {
	e.dirty = true
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.journal) == 0 && len(st.pending) == 0 && st.since.IsZero() {
		st.since = time.Now()
	}
	st.journal[e] = struct{}{}
}

// forget takes an entry out of the journal.
func (st *store) forget(e *entry) {
	for o := e.origin; o != nil; o = o.before {
		st.settled(o)
	}
	e.dirty, e.base, e.baseRaw, e.attempt, e.origin, e.updates = false, nil, nil, nil, nil, nil
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.journal, e)
}

// settled has Redis asked about an ID again.
func (st *store) settled(o *origin) {
	if from := st.live.get(o.id.sid); from != nil {
		if v := from.view.Load(); v != nil && v.dirty {
			from.view.CompareAndSwap(v, &view{rec: v.rec, gone: v.gone})
		}
	}
}

// later has f run when Redis is back.
func (st *store) later(f func(context.Context) error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.pending = append(st.pending, f)
}

// cause is why Redis is not asked.
func (st *store) cause() error {
	if st.link == nil {
		return nil
	}
	return st.link.down.Load().errOrNil()
}

// writable returns ErrUnavailable if no change can be kept: Redis is away, and
// memory must not stand in for it.
func (st *store) writable() error {
	if st.back == nil || st.cfg.Fallback == FallbackMemory || st.reachable() {
		return nil
	}
	return unavailable(st.cause())
}

// sizeOf is roughly what a record takes.
func sizeOf(r *record) (n int) {
	for key, value := range r.Values {
		n += len(key) + len(value)
	}
	return n + len(r.User) + len(r.Agent) + 64
}

// away notes since when memory answers.
func (st *store) away(since time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.since.IsZero() {
		st.since = since
	}
}

// waiting is how many sessions and revocations Redis does not know yet.
func (st *store) waiting() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.journal) + len(st.pending)
}

// unsettled reports whether memory answers for Redis, or did.
func (st *store) unsettled() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.journal)+len(st.pending) > 0 || !st.since.IsZero()
}

// steady reports whether Redis is there and knows everything.
func (st *store) steady() bool { return st.back == nil || st.reachable() && !st.unsettled() }

// fallbackSince is since when memory answers; zero if it does not.
func (st *store) fallbackSince() time.Time {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.since
}

// kept reports whether a session is not in Redis yet.
func (st *store) kept(id ident) bool {
	e := st.live.get(id.sid)
	if e == nil {
		return st.back == nil
	}
	v := e.view.Load()
	return st.back == nil || v != nil && v.dirty
}
