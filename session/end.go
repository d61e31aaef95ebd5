package session

import (
	"context"
	"errors"
	"fmt"
)

// How a session ends for good, also against whoever does not know it yet.

// drop ends a session for good and returns what it was. The error says that the
// end is known here only; it is repeated until Redis knows, unless this process
// has stopped.
func (st *store) drop(ctx context.Context, id ident) (*record, error) {
	e := st.live.entry(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dirty && st.reachable() {
		_ = st.flush(ctx, e)
	}
	v := e.view.Load()
	var was *record
	if v != nil {
		was = v.rec
	}
	if st.back == nil || e.dirty || !st.reachable() {
		return was, st.endHere(e, st.cause())
	}
	if id.token == "" {
		id = e.id // who ends one that is too many has only its name
	}
	r, err := st.remove(ctx, id, was != nil && was.Loose)
	if r != nil {
		was = r
	}
	if err != nil {
		return was, st.endHere(e, err)
	}
	e.view.Store(&view{gone: true})
	return was, nil
}

// endHere ends a session in this process. The caller holds e.mu.
func (st *store) endHere(e *entry, cause error) error {
	st.tombstone(e)
	switch {
	case st.back == nil:
		return nil
	case st.closed.Load(): // and Redis will not hear of it
		return fmt.Errorf("session: end: %w", ErrClosed)
	case st.cfg.Fallback == FallbackOff:
		return unavailable(cause)
	default:
		return nil
	}
}

// remove takes a session out of the backend for good and returns what was there.
// What makes it may still be on its way: a command that nobody answered (loose
// says so, or the record does), or, if there is nothing, what another process has
// kept that is cut off. That is to find the ID taken: a retired record is left
// there, for as long as a session may last, which nobody else takes for one. It
// needs the token of the ID.
func (st *store) remove(ctx context.Context, id ident, loose bool) (was *record, err error) {
	for range maxAttempts {
		raw, err := st.back.drop(ctx, id)
		bar := loose || errors.Is(err, errGone)
		switch {
		case err == nil:
			if r, err := st.format.decode(raw, id); err == nil {
				bar = bar || r.Loose || r.Retired
				if was == nil || !r.Retired {
					was = r
				}
			}
		case errors.Is(err, errCorrupt): // somebody else's key
			return was, nil
		case !errors.Is(err, errGone):
			return was, err
		}
		if !bar || !st.retires || id.token == "" {
			return was, nil
		}
		if raw, err = st.format.encode(&record{Retired: true}, id); err != nil {
			return was, err
		}
		if cur, err := st.back.swap(ctx, id, nil, raw, max(st.cfg.Lifetime, st.cfg.IdleTimeout)); err != nil || cur == nil {
			return was, err
		}
		// It came in between, or another end.
	}
	return was, errNotSaved
}
