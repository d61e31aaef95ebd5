package session

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Session is the session of one request. Nothing is loaded until it is used,
// and nothing is saved that did not change. It is safe for concurrent use by the
// goroutines of its request; after the request has ended it saves nothing more
// by itself.
type Session struct {
	m    *Manager
	r    *http.Request
	name string // of the cookie

	mu     sync.Mutex
	loaded bool
	over   bool  // the response has begun: no cookie can be set
	err    error // ErrUnavailable, ErrEnded
	id     ident // what the client has, or will have
	base   *record
	// unknown are IDs that we have signed and the store does not have.
	unknown []ident

	changes    map[string]*change
	login      *login
	regenerate bool
	stale      bool // the cookie is to be signed anew
	followed   bool // the client showed an ID that was replaced

	cookie cookieAction
}

// String says only what it is: what prints or logs a session would else show
// all that it holds.
func (s *Session) String() string { return "session.Session" }

// GoString is String.
func (s *Session) GoString() string { return s.String() }

// A cookieAction is what the response says about the cookie.
type cookieAction int

const (
	cookieKeep cookieAction = iota
	cookieSet
	cookieClear
)

type sessionKey struct{}

// From returns the session of the request. It is never nil and costs nothing
// until it is used. If ctx did not come through [Middleware] the session is
// empty, and changes to it return [ErrNoSession].
func From(ctx context.Context) *Session {
	if s, ok := ctx.Value(sessionKey{}).(*Session); ok {
		return s
	}
	return &Session{loaded: true, err: ErrNoSession}
}

// load finds the session that the request's cookie names. The caller holds
// s.mu.
func (s *Session) load() {
	if s.loaded {
		return
	}
	s.loaded = true
	if len(s.r.Header["Cookie"]) == 0 {
		return
	}
	defer s.importLegacy()
	// Another cookie of this name may have been planted from a sibling domain
	// or a path: the first one that is a session counts.
	cookies := s.r.CookiesNamed(s.name)
	for _, c := range cookies[:min(len(cookies), 4)] {
		s.err = nil
		id, stale, ok := s.m.format.parseCookie(c.Value, s.name)
		if !ok {
			s.m.rejected(s, ReasonForged, "")
			continue
		}
		if s.find(id, stale) {
			return // this is it, or nothing else can be
		}
	}
}

// lateFor is how long after a login a request may still come with the ID before.
// Its client has a newer cookie, or is about to get it, and another session
// must not be made for it, whose cookie would undo the login.
const lateFor = 30 * time.Second

// find loads the session of an ID, or of its successor. It reports whether to
// look no further.
func (s *Session) find(id ident, stale bool) bool {
	for range 4 {
		r, err := s.m.store.load(s.r.Context(), id)
		switch {
		case errors.Is(err, errGone):
			s.m.rejected(s, ReasonUnknown, "")
			if s.m.store.retires {
				s.unknown = append(s.unknown, id)
			}
			return false
		case errors.Is(err, errCorrupt):
			s.m.rejected(s, ReasonUndecodable, "")
			return false
		case err != nil:
			s.id, s.err = id, unavailable(err)
			return true
		case !r.Retired:
			s.m.stats.loaded.Add(1)
			if !s.m.bound(s, r) {
				s.m.rejected(s, ReasonBinding, r.User)
				return false
			}
			s.id, s.base, s.stale = id, r, stale
			return true
		case r.Next == "" || time.Now().UnixMilli() >= r.Until:
			s.m.rejected(s, ReasonRetired, r.User)
			if time.Since(time.UnixMilli(r.Rotated)) < lateFor {
				s.id, s.err = id, ErrEnded
				return true
			}
			return false
		}
		id, s.followed = s.m.format.identOf(r.Next), true
	}
	return false
}

// usable loads the session for a change and says why there can be none.
func (s *Session) usable() error {
	s.load()
	if s.base == nil && s.err != nil {
		return s.err
	}
	if s.over && s.base == nil {
		return ErrHeadersSent
	}
	return nil
}

// IsNew reports whether the store holds no session for this request yet.
func (s *Session) IsNew() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	return s.base == nil
}

// UserID is who is logged in, or empty.
func (s *Session) UserID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	return s.user()
}

func (s *Session) user() string {
	switch {
	case s.login != nil:
		return s.login.user
	case s.base != nil:
		return s.base.User
	default:
		return ""
	}
}

// IsAuthenticated reports whether somebody is logged in. If that cannot be
// known it returns false, and [Session.Err] returns [ErrUnavailable].
func (s *Session) IsAuthenticated() bool { return s.UserID() != "" }

// AuthTime is when the user logged in; zero if nobody is.
func (s *Session) AuthTime() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	switch {
	case s.login != nil:
		return s.login.at
	case s.base != nil && s.base.AuthTime > 0:
		return time.UnixMilli(s.base.AuthTime)
	default:
		return time.Time{}
	}
}

// RecentAuth reports whether the user logged in no longer ago than within. Ask
// for the password again before what matters, and call [SetAuthenticated] again.
func (s *Session) RecentAuth(within time.Duration) bool {
	at := s.AuthTime()
	return !at.IsZero() && time.Since(at) <= within
}

// Err returns nil, [ErrUnavailable] if it cannot be known whether there is a
// session, or [ErrEnded] if it was ended by somebody else while this request
// used it.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	return s.err
}

// Keys returns the names of all values, sorted.
func (s *Session) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	var keys []string
	if s.base != nil {
		for k := range s.base.Values {
			if c := s.changes[k]; k != emptyKey && (c == nil || c.value != nil) {
				keys = append(keys, k)
			}
		}
	}
	for k, c := range s.changes {
		if c.value != nil && k != emptyKey && (s.base == nil || s.base.Values[k] == nil) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// Regenerate gives the client a new ID and lets the old one die at once, as
// [SetAuthenticated] does. Call it when what the user may do changes.
func (s *Session) Regenerate() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if s.over {
		return ErrHeadersSent
	}
	if err := s.m.store.writable(); err != nil {
		return err
	}
	s.regenerate = true
	return nil
}

// Destroy ends the session, now: requests that are under way can still read
// what they have loaded, and save nothing more. What is set afterwards makes a
// new session. One that only another process knows, because that is cut off from
// Redis, ends as well. While Redis is away the end is known to this process and
// will reach Redis when it is back; the error is then [ErrUnavailable] with
// [FallbackOff], and none otherwise. After [Manager.Stop] nothing reaches Redis any
// more, and it is [ErrClosed].
func (s *Session) Destroy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	if errors.Is(s.err, ErrNoSession) {
		return s.err
	}
	id, was, unknown := s.id, s.base, s.unknown
	s.base, s.changes, s.login, s.id, s.err, s.regenerate = nil, nil, nil, ident{}, nil, false
	s.unknown = nil
	ctx := context.WithoutCancel(s.r.Context())
	var err error
	for _, id := range unknown {
		s.cookie = cookieClear
		err = errors.Join(err, s.m.end(ctx, s, id, nil))
	}
	if id.token != "" {
		s.cookie = cookieClear
		err = errors.Join(err, s.m.end(ctx, s, id, was))
	}
	return err
}

// Save saves what has changed. The middleware does so before the first byte of
// the response and once more at its end; call it before a stream or a WebSocket
// takes the connection over, and within one to keep changes meanwhile. A ctx that
// ends does not end the save, which [Config].Timeout bounds.
//
// A login, a new session and [Session.Regenerate] need a cookie: save them before
// the connection is taken over (http.Hijacker), and whoever then writes a header
// of his own has to send the Set-Cookie that w.Header() has after Hijack.
// httputil.ReverseProxy does.
func (s *Session) Save(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.err, ErrNoSession) {
		return s.err
	}
	if err := s.commit(ctx); err != nil {
		return err
	}
	if errors.Is(s.err, ErrEnded) {
		return s.err
	}
	return nil
}

// value is what a key has for this request.
func (s *Session) value(key string) (json.RawMessage, bool) {
	if c := s.changes[key]; c != nil {
		return c.value, c.value != nil
	}
	if s.base == nil {
		return nil, false
	}
	v, ok := s.base.Values[key]
	return v, ok
}
