package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// store is where sessions are loaded from and saved to: Redis, and memory while
// Redis is away. Which of the two answers is decided for each session. One that
// holds something which Redis does not know (it is dirty) is served from memory
// until that has been brought over.
type store struct {
	cfg    *Config
	format format
	back   backend // nil: memory is all there is
	link   *link   // nil unless the backend is Redis
	live   *live
	stats  *counters
	// retires: the format has a record for an ID that was replaced, and a grace.
	retires bool

	// ended reports whether a record is over although the store has it.
	ended func(*record) bool
	// adopted is called for a session made without Redis that has reached it,
	// and dropped for one that was ended: to keep the users' index.
	adopted func(ctx context.Context, id ident, r *record, since int64) error
	dropped func(ctx context.Context, id ident, r *record)

	closed atomic.Bool // after Stop nothing is brought over

	mu      sync.Mutex
	journal map[*entry]struct{} // dirty entries
	pending []func(context.Context) error
	since   time.Time // when memory began to answer
}

// A plan is what to make of a session.
type plan struct {
	next *record
	was  *record // what next is made of; nil: nothing
	to   ident   // a new ID; empty: the same
	left *record // what stays under the old ID; nil: nothing
	// changes are what makes next of what there is, and mark names them if there
	// is an Update among them.
	changes map[string]*change
	mark    uint32
	// independent: the new session is made even if the old one has ended.
	independent bool
}

// movedError says that the session goes on under another ID.
type movedError struct{ to ident }

func (*movedError) Error() string { return "session: moved" }

// maxAttempts is how often a save is tried again because somebody else was
// faster. Within a process writers wait for one another, so this is about the
// number of processes that write to one session at once.
const maxAttempts = 100

func (st *store) reachable() bool { return st.back != nil && (st.link == nil || st.link.up()) }

// load returns a session: errGone if there is none, ErrUnavailable if that
// cannot be known.
func (st *store) load(ctx context.Context, id ident) (*record, error) { return st.read(ctx, id, 1) }

// read is load by so many requests: none if it is not the session that is used.
func (st *store) read(ctx context.Context, id ident, requests int64) (*record, error) {
	var seen *view
	e := st.live.get(id.sid)
	if e != nil {
		seen = e.view.Load()
		e.requests.Add(requests)
	}
	switch {
	case st.back == nil:
		if seen == nil || seen.gone {
			return nil, errGone
		}
		return st.check(seen.rec)
	case seen != nil && seen.gone: // for good: no ID comes back
		return nil, errGone
	case seen != nil && (seen.dirty || seen.cached(time.Now())):
		st.stats.fromMemory.Add(1)
		return st.known(seen, nil)
	case !st.reachable() && (seen != nil || !st.link.settle(ctx)):
		return st.known(seen, st.link.down.Load().errOrNil())
	}
	tick := st.live.tick(id.sid)
	raw, err := st.back.load(ctx, id)
	if err != nil {
		switch {
		case errors.Is(err, errGone):
			if seen != nil {
				e.view.CompareAndSwap(seen, &view{gone: true})
			} else if st.link != nil && st.link.reuniting() {
				return nil, unavailable(errReuniting)
			}
			return nil, errGone
		case ctx.Err() != nil, errors.Is(err, errCorrupt):
			return nil, err
		}
		return st.known(seen, err)
	}
	if seen != nil && bytes.Equal(seen.raw, raw) { // not decrypted again
		return st.remember(id, e, seen, seen, tick, requests)
	}
	r, err := st.format.decode(raw, id)
	if err != nil {
		return nil, err
	}
	return st.remember(id, e, seen, &view{rec: r, raw: raw}, tick, requests)
}

// remember keeps what was loaded, unless something newer is known by now.
func (st *store) remember(id ident, e *entry, seen, v *view, tick uint64, requests int64) (*record, error) {
	if st.cfg.LocalCache > 0 && st.live.listening.Load() && st.live.tick(id.sid) == tick {
		fresh := *v
		fresh.until = time.Now().Add(st.cfg.LocalCache).UnixNano()
		v = &fresh
	}
	if v == seen {
		return st.check(v.rec)
	}
	if e == nil {
		e = st.live.entry(id)
		e.requests.Add(requests)
	}
	if !e.view.CompareAndSwap(seen, v) {
		if now := e.view.Load(); now != nil && (now.gone || now.dirty) {
			return st.known(now, nil)
		}
		return st.check(v.rec)
	}
	st.live.grew(e, len(v.raw))
	return st.check(v.rec)
}

// known answers from memory.
func (st *store) known(v *view, cause error) (*record, error) {
	switch {
	case v == nil, v.rec == nil && !v.gone:
		return nil, unavailable(cause)
	case v.gone:
		return nil, errGone
	case st.cfg.Fallback == FallbackOff && !v.dirty && cause != nil:
		return nil, unavailable(cause)
	}
	if cause != nil {
		st.stats.fromMemory.Add(1)
	}
	return st.check(v.rec)
}

// check refuses what is over by our own clock, whatever Redis does.
func (st *store) check(r *record) (*record, error) {
	if st.ended(r) {
		return nil, errGone
	}
	return r, nil
}

// create stores a new session.
func (st *store) create(ctx context.Context, id ident, r *record) error {
	raw, err := st.encode(r, nil, id)
	if err != nil {
		return err
	}
	e := st.live.entry(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	if st.reachable() {
		tick := st.live.tick(id.sid)
		cur, err := st.back.swap(ctx, id, nil, raw, st.ttl(r))
		switch {
		case err == nil && cur != nil:
			return errNotSaved // 192 random bits met twice, or somebody else's key
		case err == nil:
			st.saw(e, &view{rec: r, raw: raw, tick: tick})
			return nil
		case unfit(err):
			return err
		case st.cfg.Fallback != FallbackMemory, errors.Is(err, ErrClosed):
			return unavailable(err)
		}
		e.attempt = &view{rec: r, raw: raw}
		r = r.clone()
		r.Loose = true
	} else if st.back != nil && st.cfg.Fallback != FallbackMemory {
		return unavailable(st.link.down.Load().errOrNil())
	}
	st.keep(e, r)
	return nil
}

// update changes a session in one step: plan gets what is stored and says what
// to store instead, nil for nothing. It is called again if somebody else was
// faster.
func (st *store) update(ctx context.Context, id ident, f func(cur *record) (*plan, error)) (*record, error) {
	e := st.live.entry(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dirty && st.reachable() {
		_ = st.flush(ctx, e) // else it stays dirty
	}
	if e.dirty || !st.reachable() {
		return st.updateMemory(e, f, nil)
	}
	v := e.view.Load()
	for range maxAttempts {
		if v == nil || v.rec == nil || v.raw == nil {
			raw, err := st.back.load(ctx, id)
			if errors.Is(err, errGone) {
				e.view.Store(&view{gone: true})
				return nil, errGone
			}
			if err != nil {
				return st.updateMemory(e, f, nil)
			}
			if v, err = st.decode(raw, id); err != nil {
				return nil, errGone
			}
		}
		if v.gone {
			return nil, errGone
		}
		p, err := st.planned(v.rec, f)
		if p == nil || err != nil {
			return v.rec, err
		}
		used := e.requests.Load()
		p.next.Requests += used
		next, cur, err := st.swap(ctx, id, st.format.baseTag(v.raw), p)
		switch {
		case err == nil && cur == nil:
			e.requests.Add(-used)
			st.done(e, p, next)
			return p.next, nil
		case err == nil: // somebody else was faster
			st.stats.merged.Add(1)
			if v, err = st.decode(cur, id); err != nil {
				return nil, errGone
			}
			st.saw(e, v)
		case errors.Is(err, errGone), errors.Is(err, errCorrupt):
			e.view.Store(&view{gone: true})
			return nil, errGone
		case unfit(err):
			return nil, err
		case errors.Is(err, ErrClosed):
			return nil, unavailable(err)
		default:
			return st.updateMemory(e, f, next)
		}
	}
	return nil, fmt.Errorf("%w: too many others write to it", ErrUnavailable)
}

// planned asks f, unless there is nothing to ask it about.
func (st *store) planned(cur *record, f func(*record) (*plan, error)) (*plan, error) {
	if cur.Retired {
		if cur.Next != "" && time.Now().UnixMilli() < cur.Until {
			return nil, &movedError{to: st.format.identOf(cur.Next)}
		}
		return nil, errGone
	}
	if st.ended(cur) {
		return nil, errGone
	}
	p, err := f(cur)
	if p != nil {
		p.was = cur
	}
	return p, err
}

// swap carries a plan out in the backend, in place of what begins with base.
func (st *store) swap(ctx context.Context, id ident, base []byte, p *plan) (next *view, cur []byte, err error) {
	at := id
	if p.to.token != "" {
		at = p.to
	}
	raw, err := st.encode(p.next, p.was, at)
	if err != nil {
		return nil, nil, err
	}
	next = &view{rec: p.next, raw: raw, tick: st.live.tick(at.sid)}
	if p.to.token == "" {
		cur, err = st.back.swap(ctx, id, base, raw, st.ttl(p.next))
		return next, cur, err
	}
	m := &move{from: id, to: p.to, base: base, next: raw, ttl: st.ttl(p.next)}
	if p.left != nil {
		if m.left, err = st.format.encode(p.left, id); err != nil {
			return nil, nil, err
		}
		m.leftTTL = st.ttl(p.left)
	}
	cur, err = st.back.move(ctx, m)
	return next, cur, err
}

// done notes in memory what the backend has done.
func (st *store) done(e *entry, p *plan, next *view) {
	if p.to.token == "" {
		st.saw(e, next)
		return
	}
	e.view.Store(&view{gone: p.left == nil, rec: p.left})
	st.saw(st.live.entry(p.to), next)
}

// saw keeps a view that is what the backend has.
func (st *store) saw(e *entry, v *view) {
	if st.cfg.LocalCache > 0 && st.live.listening.Load() && v.rec != nil && !v.rec.Retired && st.live.tick(e.id.sid) == v.tick {
		v.until = time.Now().Add(st.cfg.LocalCache).UnixNano()
	}
	e.view.Store(v)
	e.attempt = nil
	st.live.grew(e, len(v.raw))
}

func (st *store) decode(raw []byte, id ident) (*view, error) {
	r, err := st.format.decode(raw, id)
	if err != nil {
		return nil, err
	}
	return &view{rec: r, raw: raw}, nil
}

// encode refuses what is too large and says which keys are to blame. What holds no
// more than before is never refused: the limit may have been lowered, and neither
// a Delete nor a note of use can help it.
func (st *store) encode(r, was *record, id ident) ([]byte, error) {
	raw, err := st.format.encode(r, id)
	st.stats.saw(len(raw))
	if err == nil && len(raw) > st.cfg.MaxBytes && r.holds() > was.holds() {
		err = tooLarge(r, len(raw), st.cfg.MaxBytes)
	}
	return raw, err
}

// ttl is what the backend is told; at least a millisecond, since 0 is an error.
func (st *store) ttl(r *record) time.Duration {
	return max(time.Until(st.format.expiry(r)), time.Millisecond)
}

// errOrNil is why Redis is not asked.
func (o *outage) errOrNil() error {
	if o == nil {
		return nil
	}
	return o.err
}
