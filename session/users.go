package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// An Info describes one of a user's sessions, to show to that user.
type Info struct {
	Ref       string // names the session in Revoke; it is neither the ID nor the key in the store
	Created   time.Time
	LastSeen  time.Time // exact to [Config].TouchEvery
	Requests  int64     // that used the session, counted when its use is written down
	IP        string    // of the last use written down
	UserAgent string    // the same
	Current   bool      // the session of the context that was asked with
}

// Sessions lists the sessions of a user, the latest used first. While Redis is
// away it lists what this process knows.
func (m *Manager) Sessions(ctx context.Context, userID string) ([]Info, error) {
	current := currentID(ctx)
	found, err := m.ofUser(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("session: sessions: %w", err)
	}
	list := make([]Info, 0, len(found))
	for _, f := range found {
		list = append(list, Info{
			Ref: m.ring[0].refOf(f.id.sid), Created: time.UnixMilli(f.rec.Created), LastSeen: time.UnixMilli(f.rec.Seen),
			Requests: f.rec.Requests, IP: f.rec.IP, UserAgent: f.rec.Agent, Current: f.id.sid == current,
		})
	}
	slices.SortFunc(list, func(a, b Info) int { return b.LastSeen.Compare(a.LastSeen) })
	return list, nil
}

// Revoke ends one session of a user, named by its Ref. It returns
// [ErrNoSession] if the user has no such session (any more).
func (m *Manager) Revoke(ctx context.Context, userID, ref string) error {
	found, err := m.ofUser(ctx, userID)
	if err != nil {
		return fmt.Errorf("session: revoke: %w", err)
	}
	for _, f := range found {
		if slices.Contains(m.refsOf(f.id.sid), ref) {
			return m.revoke(context.WithoutCancel(ctx), userID, f.id)
		}
	}
	if m.link != nil && !m.store.steady() { // it may be one that is not known here
		return fmt.Errorf("session: revoke: %w", unavailable(m.store.cause()))
	}
	return fmt.Errorf("session: revoke: %w", ErrNoSession)
}

// RevokeUser ends all sessions of a user, but those whose Ref is given, and
// logins that are under way. It returns how many it ended. Call it when a
// password changes or an account is closed. A login before it that only another
// process knows, because that is cut off from Redis, ends when Redis hears of it;
// what came first is then told by the clocks of the two. While Redis is away it ends what
// this process knows, notes to end the rest when Redis is back, and returns
// [ErrUnavailable].
func (m *Manager) RevokeUser(ctx context.Context, userID string, except ...string) (int, error) {
	ctx = context.WithoutCancel(ctx)
	now := time.Now().UnixMilli()
	n, err := m.revokeUser(ctx, userID, except, now, false)
	if err != nil && errors.Is(err, ErrUnavailable) {
		m.store.later(func(ctx context.Context) error {
			_, err := m.revokeUser(ctx, userID, except, now, true)
			return err
		})
		m.wake()
	}
	if err != nil {
		return n, fmt.Errorf("session: revoke user: %w", err)
	}
	return n, nil
}

// RevokeOthers ends all sessions of the context's user but the context's own.
func (m *Manager) RevokeOthers(ctx context.Context) (int, error) {
	s := From(ctx)
	user := s.UserID()
	if user == "" {
		return 0, fmt.Errorf("session: revoke others: %w", ErrNoSession)
	}
	n, err := m.RevokeUser(ctx, user, m.ring[0].refOf(currentID(ctx)))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.login == nil {
		return n, err
	}
	f, ferr := m.fence(context.WithoutCancel(ctx), s.login.user) // this request's own login is not one of the others
	if ferr != nil {
		return n, fmt.Errorf("session: revoke others: %w", ferr)
	}
	s.login.fence, s.login.at = f, time.Now() // not before what it has revoked
	return n, err
}

// revokeUser is RevokeUser; at is when that was called, in ms. Later on, whoever
// has logged in since then is not meant, in that same millisecond either: a
// handler that resets a password does both.
func (m *Manager) revokeUser(ctx context.Context, userID string, except []string, at int64, later bool) (n int, err error) {
	found, err := m.ofUser(ctx, userID)
	if err != nil {
		return 0, err
	}
	var keep []string
	for _, f := range found {
		e := m.store.live.entry(f.id)
		spared := later && (f.rec.AuthTime >= at || e.spared.Load() >= at)
		for _, ref := range m.refsOf(f.id.sid) {
			spared = spared || slices.Contains(except, ref)
		}
		if spared {
			keep = append(keep, f.id.sid)
			e.spared.Store(max(at, e.spared.Load()))
		}
	}
	ids := make([]ident, 0, len(found))
	for _, f := range found {
		ids = append(ids, f.id)
	}
	if m.index != nil {
		listed, ferr := m.index.fenceOff(ctx, userID, at, max(m.cfg.Lifetime, m.cfg.IdleTimeout), keep)
		if ferr != nil {
			err = unavailable(ferr)
		}
		ids = append(ids, listed...)
	}
	ended := map[string]bool{}
	for _, id := range ids {
		if slices.Contains(keep, id.sid) || ended[id.sid] {
			continue
		}
		ended[id.sid] = true
		if e := m.revoke(ctx, userID, id); e != nil {
			err = errors.Join(err, e)
			continue
		}
		n++
	}
	return n, err
}

// revoke ends one session.
func (m *Manager) revoke(ctx context.Context, userID string, id ident) error {
	var err error
	for range 4 {
		r, e := m.store.drop(ctx, id)
		if e != nil {
			err = e
		}
		m.delist(ctx, id, userID)
		if r == nil || !r.Retired || r.Next == "" {
			break
		}
		id = m.format.identOf(r.Next)
	}
	m.stats.revoked.Add(1)
	m.event(nil, Event{Kind: Revoked, UserID: userID})
	m.wake()
	return err
}

// found is a session of a user.
type found struct {
	id  ident
	rec *record
}

// ofUser finds the sessions of a user: those listed in Redis, or those that
// this process knows.
func (m *Manager) ofUser(ctx context.Context, userID string) ([]found, error) {
	if userID == "" {
		return nil, nil
	}
	seen := map[string]bool{}
	var out []found
	if m.index != nil && m.link.up() {
		ids, err := m.index.all(ctx, userID)
		if err != nil && (ctx.Err() != nil || !errors.Is(err, ErrUnavailable)) {
			return nil, err
		}
		for _, id := range ids {
			if seen[id.sid] {
				continue
			}
			seen[id.sid] = true
			r, err := m.store.read(ctx, id, 0)
			switch {
			case err == nil && !r.Retired && r.User == userID:
				out = append(out, found{id, r})
			case err == nil, errors.Is(err, errGone), errors.Is(err, errCorrupt):
				m.delist(ctx, id, userID) // what is gone is not to be listed
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			}
		}
		if m.store.steady() {
			return out, nil
		}
	}
	m.store.live.each(func(e *entry, v *view) {
		if v.rec != nil && !v.rec.Retired && v.rec.User == userID && !m.over(v.rec) && !seen[e.id.sid] {
			out = append(out, found{e.id, v.rec})
		}
	})
	return out, nil
}

// refsOf is how a session may be called, by any of the secrets.
func (m *Manager) refsOf(sid string) []string {
	refs := make([]string, 0, len(m.ring))
	for _, k := range m.ring {
		refs = append(refs, k.refOf(sid))
	}
	return refs
}

// currentID is the storage ID of the context's session.
func currentID(ctx context.Context) string {
	s, ok := ctx.Value(sessionKey{}).(*Session)
	if !ok {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	return s.id.sid
}

// fence looks at what must not change until a login is saved.
func (m *Manager) fence(ctx context.Context, user string) (fence, error) {
	if m.index == nil || !m.link.up() {
		return fence{any: true, at: time.Now().UnixMilli(), epoch: m.epoch.Load()}, nil
	}
	m.readEpoch(ctx)
	at := time.Now().UnixMilli()
	f, err := m.index.fence(ctx, user)
	if err != nil {
		if m.cfg.Fallback != FallbackMemory {
			return f, unavailable(err)
		}
		f.any = true
	}
	f.at = at
	f.epoch = m.epoch.Load()
	return f, nil
}

// enlist lists a session under its user and ends those that are one too many.
func (m *Manager) enlist(ctx context.Context, id ident, r *record, f fence) error {
	if m.index == nil || m.store.kept(id) {
		m.limitMemory(ctx, id, r.User)
		return nil
	}
	err := m.list(ctx, id, r, f)
	switch {
	case errors.Is(err, ErrEnded):
		return unavailable(err)
	case err != nil: // the session is there, and its list will be
		m.store.later(func(ctx context.Context) error { return m.adopted(ctx, id, r, max(r.AuthTime, f.at)) })
		m.wake()
	}
	return nil
}

func (m *Manager) list(ctx context.Context, id ident, r *record, f fence) error {
	evicted, err := m.index.add(ctx, r.User, id, r, m.format.expiry(r), f)
	for _, sid := range evicted {
		m.evict(ctx, r.User, sid)
	}
	return err
}

// evict ends a session that is one too many. Its token is not needed for that.
func (m *Manager) evict(ctx context.Context, user, sid string) {
	if _, err := m.store.drop(ctx, ident{sid: sid}); err != nil {
		m.log.WarnContext(ctx, "session not ended", "error", err)
	}
	m.stats.revoked.Add(1)
	m.event(nil, Event{Kind: Revoked, UserID: user})
}

// limitMemory is MaxPerUser without an index; latest is the session that has
// just been made.
func (m *Manager) limitMemory(ctx context.Context, latest ident, user string) {
	if m.cfg.MaxPerUser == 0 {
		return
	}
	var all []found
	m.store.live.each(func(e *entry, v *view) {
		if v.rec != nil && !v.rec.Retired && v.rec.User == user && !m.over(v.rec) {
			all = append(all, found{e.id, v.rec})
		}
	})
	slices.SortFunc(all, func(a, b found) int {
		switch {
		case a.rec.AuthTime != b.rec.AuthTime:
			return cmp.Compare(a.rec.AuthTime, b.rec.AuthTime)
		case a.id.sid == latest.sid: // within the same millisecond
			return 1
		case b.id.sid == latest.sid:
			return -1
		default:
			return 0
		}
	})
	for _, f := range all[:max(0, len(all)-m.cfg.MaxPerUser)] {
		m.evict(ctx, user, f.id.sid)
	}
}

// noteUse keeps the list from forgetting a session that is in use.
func (m *Manager) noteUse(ctx context.Context, id ident, r *record) {
	if r.User == "" || m.index == nil || m.store.kept(id) {
		return
	}
	if _, err := m.index.add(ctx, r.User, id, r, m.format.expiry(r), fence{any: true}); err != nil {
		m.log.WarnContext(ctx, "session is not in its user's list", "error", err)
	}
}

// delist takes a session off its user's list; a listing does so too.
func (m *Manager) delist(ctx context.Context, id ident, user string) {
	if m.index == nil || !m.link.up() || user == "" {
		return
	}
	_ = m.index.remove(ctx, user, id.sid)
}
