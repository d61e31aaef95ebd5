package session

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
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
	if _, err := st.encode(p.next, e.id); err != nil { // too large now, not at the return
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

// redo does the Updates again that theirs does not hold yet.
func (e *entry) redo(next, theirs *record) {
	for key, list := range e.updates {
		value := theirs.Values[key]
		for _, u := range list {
			if slices.Contains(theirs.Marks, u.mark) {
				continue
			}
			value = u.change.again(value)
			if !slices.Contains(next.Marks, u.mark) {
				next.mark(u.mark)
			}
		}
		if value == nil {
			delete(next.Values, key)
		} else {
			next.Values[key] = value
		}
	}
}

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

// replay brings everything over that was kept. What is refused does not hold up
// the rest, unless Redis is away again.
func (st *store) replay(ctx context.Context) error {
	for {
		var failed error
		st.mu.Lock()
		pending := st.pending
		entries := maps.Clone(st.journal)
		if len(pending) == 0 && len(entries) == 0 {
			if st.link == nil || st.link.up() {
				st.since = time.Time{}
			}
			st.mu.Unlock()
			return nil
		}
		st.pending = nil
		st.mu.Unlock()
		for i, f := range pending { // revocations first
			if err := f(ctx); err != nil {
				st.mu.Lock()
				st.pending = append(pending[i:], st.pending...)
				st.mu.Unlock()
				return err
			}
		}
		for _, ends := range []bool{true, false} { // then logouts, then what is new
			for e := range entries {
				e.mu.Lock()
				v := e.view.Load()
				var err error
				if e.dirty && v.gone == ends {
					err = st.flush(ctx, e)
				}
				e.mu.Unlock()
				switch {
				case err != nil && !st.reachable():
					return err
				case err != nil:
					failed = errors.Join(failed, err)
				}
			}
		}
		if failed != nil {
			return failed
		}
	}
}

// flush brings one entry over. The caller holds e.mu.
func (st *store) flush(ctx context.Context, e *entry) error {
	v := e.view.Load()
	var err error
	switch {
	case v.gone:
		err = st.flushEnd(ctx, e, v)
	case e.origin != nil:
		err = st.flushMove(ctx, e, v)
	default:
		err = st.flushChange(ctx, e, v)
	}
	if err == nil {
		st.stats.replayed.Add(1)
	}
	return err
}

func (st *store) flushEnd(ctx context.Context, e *entry, v *view) error {
	if _, err := st.back.drop(ctx, e.id); err != nil && !errors.Is(err, errGone) && !errors.Is(err, errCorrupt) {
		return err
	}
	if err := st.bar(ctx, e); err != nil {
		return err
	}
	if e.origin != nil {
		if _, err := st.back.drop(ctx, e.origin.id); err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	if v.rec != nil {
		st.dropped(ctx, e.id, v.rec)
	}
	e.view.Store(&view{gone: true})
	st.forget(e)
	return nil
}

// bar keeps a command that nobody answered, and that may still be on its way,
// from making a session that has ended: in its place it finds what is left of an
// ID that was replaced.
func (st *store) bar(ctx context.Context, e *entry) error {
	if !e.loose {
		return nil
	}
	left := &record{Retired: true, Rotated: time.Now().UnixMilli()}
	raw, err := st.format.encode(left, e.id)
	if err != nil {
		return err
	}
	_, err = st.back.swap(ctx, e.id, nil, raw, st.ttl(left))
	return err
}

// flushChange creates or changes a session in Redis.
func (st *store) flushChange(ctx context.Context, e *entry, v *view) error {
	created := e.baseRaw == nil
	var base []byte
	if !created {
		base = st.format.baseTag(e.baseRaw)
	}
	next := v.rec
	for range maxAttempts {
		done, cur, err := st.swap(ctx, e.id, base, &plan{next: next})
		switch {
		case errors.Is(err, errGone): // ended elsewhere
			return st.endedElsewhere(e)
		case errors.Is(err, ErrTooLarge) && base != nil: // with what is there: that stays
			st.stats.lateWrites.Add(1)
			e.view.Store(nil)
			st.forget(e)
			return nil
		case err != nil && (errors.Is(err, ErrTooLarge) || errors.Is(err, errCorrupt)):
			return st.endedElsewhere(e)
		case err != nil:
			return err
		case cur == nil:
			if created {
				st.adopt(e.id, next)
			}
			st.forget(e)
			st.saw(e, done)
			return nil
		}
		theirs, err := st.format.decode(cur, e.id)
		if err != nil || theirs.Retired {
			return st.endedElsewhere(e)
		}
		from := e.base
		if e.attempt != nil && (from == nil || bytes.Equal(cur, e.attempt.raw)) {
			from = e.attempt.rec // it had arrived
		}
		if from == nil {
			from = &record{}
		}
		base, next = st.format.baseTag(cur), merge(from, v.rec, theirs)
		e.redo(next, theirs)
	}
	return errNotSaved
}

// flushMove gives a session in Redis the ID it was given here.
func (st *store) flushMove(ctx context.Context, e *entry, v *view) error {
	o := e.origin
	for range maxAttempts {
		raw, err := st.back.load(ctx, o.id)
		if err != nil && !errors.Is(err, errGone) {
			return err
		}
		var theirs *record
		if err == nil {
			theirs, _ = st.format.decode(raw, o.id)
		}
		if theirs == nil || theirs.Retired {
			switch {
			case o.before != nil: // perhaps the move to this ID had not arrived
				st.settled(o)
				e.origin = o.before
				return st.flushMove(ctx, e, v)
			case o.needed && e.attempt != nil: // it had arrived, or the session has ended
				e.base, e.baseRaw, e.attempt = e.attempt.rec, e.attempt.raw, nil
				st.adopt(e.id, v.rec)
			case o.needed:
				return st.endedElsewhere(e)
			}
			st.settled(o)
			e.origin = nil
			return st.flushChange(ctx, e, v)
		}
		next := v.rec
		if o.base != nil && (o.base.User == "" || o.base.User == next.User) {
			next = next.clone()
			next.Values = merge(o.base, v.rec, theirs).Values
			e.redo(next, theirs)
		}
		done, cur, err := st.swap(ctx, o.id, st.format.baseTag(raw), &plan{next: next, to: e.id, left: o.left})
		switch {
		case err == nil && cur == nil:
			st.adopt(e.id, next)
			st.forget(e)
			st.saw(e, done)
			return nil
		case err == nil, errors.Is(err, errGone):
		case errors.Is(err, ErrTooLarge) && o.base != nil:
			o.base = nil // with what is there: ours stays
		case errors.Is(err, ErrTooLarge), errors.Is(err, errCorrupt):
			return st.endedElsewhere(e)
		default:
			return err
		}
	}
	return errNotSaved
}

// adopt has a session listed under its user, once no lock is held.
func (st *store) adopt(id ident, r *record) {
	if r.User != "" {
		st.later(func(ctx context.Context) error { return st.adopted(ctx, id, r) })
	}
}

// endedElsewhere gives up what was kept of a session that is no more.
func (st *store) endedElsewhere(e *entry) error {
	st.stats.lateWrites.Add(1)
	e.view.Store(&view{gone: true})
	st.forget(e)
	return nil
}

// cause is why Redis is not asked.
func (st *store) cause() error {
	if st.link == nil {
		return nil
	}
	return st.link.down.Load().errOrNil()
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
