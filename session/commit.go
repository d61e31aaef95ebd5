package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// commit saves what this request did to the session. An error means that the
// client must not be told that it worked; that somebody else ended the session
// is none: then there is nothing to save it in, and Err says so. The caller
// holds s.mu.
func (s *Session) commit(ctx context.Context) error {
	if !s.loaded || s.m == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // the client may have left; what he did counts
	var err error
	switch {
	case s.login != nil:
		err = s.commitLogin(ctx)
	case s.base == nil:
		err = s.commitNew(ctx)
	default:
		err = s.commitChange(ctx)
	}
	if err == nil {
		s.changes = nil
	}
	return err
}

// commitNew makes a session, if there is something to keep.
func (s *Session) commitNew(ctx context.Context) error {
	if !s.changed() || s.err != nil {
		return nil //nolint:nilerr // there is nothing to save, or nothing to save it in
	}
	if s.over {
		return ErrHeadersSent
	}
	id := s.m.format.newIdent(ident{})
	r := s.m.newRecord(s)
	r.Values = s.apply(nil)
	if err := s.m.store.create(ctx, id, r); err != nil {
		return err
	}
	s.id, s.base, s.err, s.cookie = id, r, nil, cookieSet
	s.m.created(s, r)
	return nil
}

// commitChange saves changes, notes that the session was used, and gives the
// client a new ID if it is time to.
func (s *Session) commitChange(ctx context.Context) error {
	now := time.Now()
	changed, rotate := s.changed(), s.dueForRotation(now)
	touch := now.Sub(time.UnixMilli(s.base.Seen)) >= s.m.cfg.TouchEvery
	if !changed && !rotate && !touch && !s.base.old && !s.regenerate {
		return s.heal(ctx)
	}
	save := saving{changed: changed, touch: touch, fence: fence{any: true, at: now.UnixMilli()}}
	var fresh ident // the same in all attempts: the reply to the first may be what was lost
	if rotate || s.regenerate {
		fresh = s.m.format.newIdent(s.id)
		if s.base.User != "" {
			if f, err := s.m.fence(ctx, s.base.User); err == nil {
				save.fence = f
			}
		}
	}
	mark := s.mark()
	for range 4 {
		r, err := s.m.store.update(ctx, s.id, func(cur *record) (*plan, error) {
			save.to = ident{}
			if mark != 0 && slices.Contains(cur.Marks, mark) {
				return nil, nil //nolint:nilnil // the client sent it twice, and the first had arrived
			}
			p := &plan{next: cur.clone(), changes: s.changes, mark: mark}
			p.next.Values = s.apply(cur)
			if mark != 0 {
				p.next.mark(mark)
			}
			p.next.old = false
			s.m.used(s, p.next, now)
			due := rotate && now.UnixMilli()-cur.Rotated >= s.m.cfg.RegenerateEvery.Milliseconds()
			if s.regenerate && !s.over || due {
				save.to = fresh
				p.to, p.next.Rotated = fresh, now.UnixMilli()
				p.left = s.m.retired(cur, now)
				if !s.regenerate && p.left != nil {
					p.left.Next, p.left.Until = fresh.token, now.Add(s.m.cfg.RegenerateGrace).UnixMilli()
				}
			} else if !changed && !cur.old && cur != s.base && now.UnixMilli()-cur.Seen < s.m.cfg.TouchEvery.Milliseconds() {
				return nil, nil //nolint:nilnil // another request has noted the use
			}
			return p, nil
		})
		if moved, ok := errors.AsType[*movedError](err); ok {
			s.id, s.followed = moved.to, true
			continue
		}
		return s.committed(ctx, r, save, err)
	}
	return unavailable(errNotSaved)
}

// saving is what commitChange is about to do.
type saving struct {
	changed, touch bool
	to             ident // the new ID, if there is to be one
	fence          fence // what has to be still so when that is listed
}

// mark names this save if it holds an Update, and is 0 if not.
func (s *Session) mark() uint32 {
	for _, c := range s.changes {
		if !c.blind {
			return rand.Uint32() | 1 //nolint:gosec // a name, no secret
		}
	}
	return 0
}

// committed notes what came of it.
func (s *Session) committed(ctx context.Context, r *record, save saving, err error) error {
	switch {
	case errors.Is(err, errGone):
		s.gone(save)
		return nil
	case err != nil && !save.changed && !s.regenerate:
		return nil // the use could not be noted: no harm done
	case err != nil:
		return err
	}
	if save.touch || s.base.old {
		s.m.stats.touches.Add(1)
		s.m.noteUse(ctx, s.id, r)
		if x := s.m.opts.express; x != nil && x.Rolling && !s.over {
			s.cookie = cookieSet
		}
	}
	if save.to.token != "" {
		old := s.id
		s.id, s.cookie, s.regenerate = save.to, cookieSet, false
		if err := s.m.regenerated(ctx, s, old, r, save.fence); err != nil { // revoked meanwhile
			_, _ = s.m.store.drop(ctx, s.id)
			s.gone(save)
			return nil //nolint:nilerr // as for any other session that was ended
		}
	} else if (s.followed || s.stale) && !s.over {
		s.cookie = cookieSet
	}
	s.base = r
	return nil
}

// gone notes that somebody else has ended the session.
func (s *Session) gone(save saving) {
	s.m.ended(s, s.base)
	s.base, s.id, s.err = nil, ident{}, ErrEnded
	if s.cookie == cookieSet { // by an earlier save
		s.cookie = cookieKeep
	}
	if save.changed {
		s.m.stats.lateWrites.Add(1)
	}
}

// heal tells a client that still shows the ID before which one is next, or whose
// cookie is of an old secret, in case the response that did was lost. Only if that one lives: a login may have
// replaced it meanwhile, and its cookie must not be undone.
func (s *Session) heal(ctx context.Context) error {
	if (!s.followed && !s.stale) || s.over || s.cookie != cookieKeep {
		return nil
	}
	if r, err := s.m.store.read(ctx, s.id, 0); err == nil && !r.Retired {
		s.cookie = cookieSet
	}
	return nil
}

// dueForRotation reports whether the client should get a new ID with this
// response. Not if nobody is logged in: a login might be under way beside this
// request, and this response arrive after the login's, with an ID that the login
// has ended. The same can happen to somebody who logs in again, where the new ID
// is worth that risk.
func (s *Session) dueForRotation(now time.Time) bool {
	every := s.m.cfg.RegenerateEvery
	return every > 0 && s.base.User != "" && !s.over && !s.followed && s.m.store.retires && s.m.store.steady() &&
		now.Sub(time.UnixMilli(s.base.Rotated)) >= every
}
