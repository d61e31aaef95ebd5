package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"
)

// A login is a change of who is logged in that has not been saved yet.
type login struct {
	user  string
	at    time.Time
	fence fence // what has to be still so when it is saved
}

// SetAuthenticated notes that this user has logged in, and sets data beside.
// The session gets a new ID, and the old one is dead at once, so an ID that was
// planted before the login is worth nothing. What an anonymous session holds is
// kept; what it held for another user is dropped. The absolute timeout begins
// anew.
//
// It must be called before the response begins, or returns [ErrHeadersSent].
// [ErrUnavailable]: [Config].Fallback forbids logins while Redis is away. The user
// ID must be UTF-8, since JSON makes one character of all that is not; bytes, such
// as those of a UUID, go in hex. [ErrTooLarge]: with it or data the session
// exceeds [Config].MaxBytes. After an error the session is as it was.
func SetAuthenticated(ctx context.Context, userID string, data map[string]any) error {
	return From(ctx).SetAuthenticated(userID, data)
}

// IsAuthenticated reports whether somebody is logged in; see
// [Session.IsAuthenticated].
func IsAuthenticated(ctx context.Context) bool { return From(ctx).IsAuthenticated() }

// ClearAuthentication logs the user out: the session ends, with all that it
// held, now and for good; see [Session.Destroy]. It does nothing if the request
// shows no cookie that we have signed.
func ClearAuthentication(ctx context.Context) error { return From(ctx).Destroy() }

// SetAuthenticated is the function of this name for the session at hand.
func (s *Session) SetAuthenticated(userID string, data map[string]any) error {
	if userID == "" {
		return errors.New("session: set authenticated: empty user ID")
	}
	if !utf8.ValidString(userID) { // JSON would make two users one
		return errors.New("session: set authenticated: the user ID is not UTF-8: encode it, for instance in hex")
	}
	userID = strings.Clone(userID) // of a request whose memory a server may use again, as fasthttp does
	raw := make(map[string]json.RawMessage, len(data))
	for key, value := range data {
		b, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("session: set authenticated: %q: %w", key, err)
		}
		raw[key] = b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	switch {
	case errors.Is(s.err, ErrNoSession):
		return s.err
	case s.over:
		return ErrHeadersSent
	}
	if err := s.m.store.writable(); err != nil {
		return err
	}
	f, err := s.m.fence(context.WithoutCancel(s.r.Context()), userID)
	if err != nil {
		return err
	}
	changes, before := maps.Clone(s.changes), s.login
	if s.user() != "" && s.user() != userID { // what it held is not for this user
		s.changes = map[string]*change{}
		if s.base != nil {
			for key := range s.base.Values {
				s.changes[key] = &change{blind: true}
			}
		}
	}
	s.login = &login{user: userID, at: time.Now(), fence: f}
	err = s.loginFits()
	for key, value := range raw {
		if err == nil {
			err = s.put(key, &change{blind: true, start: value, value: value})
		}
	}
	if err != nil {
		s.changes, s.login = changes, before
	}
	return err
}

// commitLogin makes the session of a user: from the one that there was, in one
// step, or from nothing.
func (s *Session) commitLogin(ctx context.Context) error {
	if s.over {
		return ErrHeadersSent
	}
	l, old := s.login, s.id
	id := s.m.format.newIdent(s.id)
	var r *record
	var err error
	mark := s.mark()
	for range 4 {
		if s.base == nil {
			err = errGone
			break
		}
		r, err = s.m.store.update(ctx, old, func(cur *record) (*plan, error) {
			next := s.m.newRecord(s)
			next.Values = s.apply(cur)
			next.foreign = cur.foreign
			if cur != s.base && s.base.User != "" && s.base.User != l.user {
				next.Values = s.apply(s.base) // what others added meanwhile is not for this user either
			}
			if mark != 0 {
				next.mark(mark)
			}
			return &plan{next: next, to: id, left: s.m.retired(cur, l.at), independent: true, changes: s.changes, mark: mark}, nil
		})
		moved, ok := errors.AsType[*movedError](err)
		if !ok {
			break
		}
		old = moved.to
	}
	if errors.Is(err, errGone) {
		r = s.m.newRecord(s)
		r.Values = s.apply(s.base)
		err = s.m.store.create(ctx, id, r)
		if err == nil && old.token != "" && errors.Is(s.err, ErrUnavailable) {
			_ = s.m.end(ctx, s, old, nil) // the session that could not be asked for
		}
	}
	if err != nil {
		return err
	}
	if err := s.m.enlist(ctx, id, r, l.fence); err != nil {
		_, _ = s.m.store.drop(ctx, id)
		return err
	}
	if s.base != nil && s.base.User != "" {
		s.m.delist(ctx, old, s.base.User)
	}
	if s.base == nil {
		s.m.created(s, r)
	}
	s.id, s.base, s.login, s.err, s.cookie = id, r, nil, nil, cookieSet
	s.regenerate, s.stale, s.followed = false, false, false
	s.m.authenticated(s, r)
	return nil
}
