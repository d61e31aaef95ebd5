package session

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// newRecord begins a session for the request at hand, and for its user if
// somebody is logging in.
func (m *Manager) newRecord(s *Session) *record {
	now := time.Now().UnixMilli()
	c := m.client(s.r)
	r := &record{
		Created: now, Seen: now, Rotated: now, Epoch: m.epoch.Load(), Requests: 1,
		IP: c.IP, Agent: c.UserAgent, BornIP: c.Network, BornUA: c.Family,
	}
	if l := s.login; l != nil {
		r.User, r.AuthTime, r.Epoch = l.user, l.at.UnixMilli(), max(r.Epoch, l.fence.epoch)
	}
	return r
}

// used writes down who used a session last.
func (m *Manager) used(s *Session, r *record, now time.Time) {
	c := m.client(s.r)
	r.Seen, r.IP, r.Agent = max(r.Seen, now.UnixMilli()), c.IP, c.UserAgent
}

// retired is what stays under an ID that was replaced: enough to recognize it.
func (m *Manager) retired(r *record, now time.Time) *record {
	if !m.store.retires {
		return nil
	}
	return &record{Retired: true, Rotated: now.UnixMilli(), User: r.User, Epoch: r.Epoch}
}

// end ends a session, and those that its ID leads to.
func (m *Manager) end(ctx context.Context, s *Session, id ident, was *record) error {
	var err error
	for range 4 {
		r, e := m.store.drop(ctx, id)
		if e != nil {
			err = e
		}
		if r == nil || !r.Retired {
			if r != nil {
				was = r
			}
			break
		}
		if r.Next == "" {
			break
		}
		id = m.format.identOf(r.Next)
	}
	m.wake()
	if was == nil || was.Retired {
		return err
	}
	if was.User != "" {
		m.delist(ctx, id, was.User)
	}
	m.stats.destroyed.Add(1)
	m.event(s, Event{Kind: Destroyed, UserID: was.User})
	return err
}

// droppedLater is told that Redis knows of an end now.
func (m *Manager) droppedLater(ctx context.Context, id ident, r *record) {
	if r.User != "" {
		m.delist(ctx, id, r.User)
	}
}

// adopted is told that Redis knows of a login now. The user's sessions may have
// been revoked after since, by a process that could not know of this one.
func (m *Manager) adopted(ctx context.Context, id ident, r *record, since int64) error {
	if m.index == nil {
		return nil
	}
	if e := m.store.live.get(id.sid); e != nil {
		since = max(since, e.spared.Load())
	}
	err := m.list(ctx, id, r, fence{any: true, at: since})
	if errors.Is(err, ErrEnded) {
		return m.revoke(ctx, r.User, id)
	}
	return err
}

func (m *Manager) created(s *Session, r *record) {
	m.stats.created.Add(1)
	m.event(s, Event{Kind: Created, UserID: r.User})
}

func (m *Manager) authenticated(s *Session, r *record) {
	m.stats.logins.Add(1)
	m.event(s, Event{Kind: Authenticated, UserID: r.User})
}

func (m *Manager) regenerated(ctx context.Context, s *Session, old ident, r *record, f fence) error {
	if r.User != "" && m.index != nil {
		m.delist(ctx, old, r.User)
		if err := m.enlist(ctx, s.id, r, f); err != nil {
			return err
		}
	}
	m.stats.regenerated.Add(1)
	m.event(s, Event{Kind: Regenerated, UserID: r.User})
	return nil
}

// ended is told that a session was over before this request could save.
func (m *Manager) ended(s *Session, r *record) {
	kind := Expired
	if !m.over(r) {
		kind = Late
	}
	m.event(s, Event{Kind: kind, UserID: r.User})
}

func (m *Manager) rejected(s *Session, reason Reason, user string) {
	m.stats.rejected[reason].Add(1)
	m.event(s, Event{Kind: Rejected, Reason: reason, UserID: user})
}

// failed is told that a save failed.
func (m *Manager) failed(s *Session, err error) {
	m.stats.failed.Add(1)
	m.log.ErrorContext(s.r.Context(), "session not saved", "error", err)
}

// bound asks the binding whether a request may use a session.
func (m *Manager) bound(s *Session, r *record) bool {
	if r.User == "" || len(m.opts.observers) == 0 && m.opts.binding == nil || r.BornIP == "" && r.BornUA == "" {
		return true
	}
	now := m.client(s.r)
	if now.Network == r.BornIP && now.Family == r.BornUA {
		return true
	}
	if m.opts.binding != nil {
		return m.opts.binding(Client{Network: r.BornIP, Family: r.BornUA, IP: r.IP, UserAgent: r.Agent}, now)
	}
	m.event(s, Event{Kind: Moved, UserID: r.User})
	return true
}

// setCookie writes the cookie, in place of one that is there already.
func (m *Manager) setCookie(h http.Header, s *Session) {
	c := &http.Cookie{ //nolint:gosec // Secure is decided by request and configuration
		Name: s.name, Path: m.cfg.Path, Domain: m.cfg.Domain, HttpOnly: true, SameSite: m.cfg.sameSite(),
		Partitioned: m.cfg.Partitioned, Secure: m.secure || m.isSecure(s.r),
	}
	if s.cookie == cookieClear {
		c.MaxAge = -1
	} else {
		c.Value = m.format.cookieValue(s.id, s.name)
		if s.base != nil {
			m.format.cookie(s.base, c)
		}
	}
	putCookie(h, c)
}

// putCookie adds a Set-Cookie and removes earlier ones of the same name.
func putCookie(h http.Header, c *http.Cookie) {
	kept := h["Set-Cookie"][:0:0]
	for _, line := range h["Set-Cookie"] {
		if len(line) <= len(c.Name) || line[:len(c.Name)] != c.Name || line[len(c.Name)] != '=' {
			kept = append(kept, line)
		}
	}
	if v := c.String(); v != "" {
		kept = append(kept, v)
	}
	h["Set-Cookie"] = kept
}
