package session

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// How what was done while Redis was away gets there when it is back: as any save
// does, by a three-way merge, entry by entry.

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
	if _, err := st.remove(ctx, e.id, v.rec != nil && v.rec.Loose); err != nil {
		return err
	}
	if e.origin != nil {
		if _, err := st.remove(ctx, e.origin.id, false); err != nil {
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

// flushChange creates or changes a session in Redis.
func (st *store) flushChange(ctx context.Context, e *entry, v *view) error {
	created := e.baseRaw == nil
	var base []byte
	if !created {
		base = st.format.baseTag(e.baseRaw)
	}
	next, was := v.rec, v.rec // what was kept has been found small enough
	for range maxAttempts {
		done, cur, err := st.swap(ctx, e.id, base, &plan{next: next, was: was})
		switch {
		case errors.Is(err, errGone): // ended elsewhere
			return st.endedElsewhere(e)
		case unfit(err) && base != nil: // with what is there: that stays
			st.stats.lateWrites.Add(1)
			e.view.Store(nil)
			st.forget(e)
			return nil
		case unfit(err), errors.Is(err, errCorrupt):
			return st.endedElsewhere(e)
		case err != nil:
			return err
		case cur == nil:
			if created { // Redis has never had it
				st.adopt(e.id, next, next.AuthTime)
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
		base, next, was = st.format.baseTag(cur), merge(from, v.rec, theirs), theirs
		e.redo(next, theirs)
	}
	return errNotSaved
}

// flushMove gives a session in Redis the ID it was given here.
func (st *store) flushMove(ctx context.Context, e *entry, v *view) error {
	o := e.origin
	for range maxAttempts {
		alive := time.Now().UnixMilli()
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
				st.adopt(e.id, v.rec, v.rec.Rotated)
			case o.needed:
				return st.endedElsewhere(e)
			}
			st.settled(o)
			e.origin = nil
			return st.flushChange(ctx, e, v)
		}
		next, was := v.rec, v.rec
		if o.base != nil && (o.base.User == "" || o.base.User == next.User) {
			next, was = next.clone(), theirs
			next.Values = merge(o.base, v.rec, theirs).Values
			e.redo(next, theirs)
		}
		done, cur, err := st.swap(ctx, o.id, st.format.baseTag(raw), &plan{next: next, was: was, to: e.id, left: o.left})
		switch {
		case err == nil && cur == nil:
			since := next.AuthTime
			if theirs.User == next.User { // it was revoked with the one before, or not meant
				since = max(since, alive)
			}
			st.adopt(e.id, next, since)
			st.forget(e)
			st.saw(e, done)
			return nil
		case errors.Is(err, errTaken): // ended elsewhere, under the ID that it has here
			if _, err := st.remove(ctx, o.id, false); err != nil {
				return err
			}
			return st.endedElsewhere(e)
		case err == nil, errors.Is(err, errGone):
		case unfit(err) && o.base != nil:
			o.base = nil // with what is there: ours stays
		case unfit(err), errors.Is(err, errCorrupt):
			return st.endedElsewhere(e)
		default:
			return err
		}
	}
	return errNotSaved
}

// adopt has a session listed under its user, once no lock is held. No revocation
// before since was meant for it.
func (st *store) adopt(id ident, r *record, since int64) {
	if r.User != "" {
		st.later(func(ctx context.Context) error { return st.adopted(ctx, id, r, since) })
	}
}

// endedElsewhere gives up what was kept of a session that is no more.
func (st *store) endedElsewhere(e *entry) error {
	st.stats.lateWrites.Add(1)
	e.view.Store(&view{gone: true})
	st.forget(e)
	return nil
}

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
