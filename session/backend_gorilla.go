package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
)

// gorillaBackend keeps records in any gorilla store: each is one value of one
// of the store's sessions. It has no way to compare and write in one step, so
// the lock that the caller holds for each session does that, within the process.
type gorillaBackend struct {
	store sessions.Store
	live  *live
}

// recordKey is where a record is in the store's Values.
const recordKey = "record"

// open asks the store for a session.
func (b *gorillaBackend) open(ctx context.Context, id ident) (*http.Request, *sessions.Session, []byte, error) {
	cookie := id.sid
	if c := b.carry(id); c != "" {
		cookie = c
	}
	r := &http.Request{Method: http.MethodGet, Header: http.Header{"Cookie": {cookieOfStore + "=" + cookie}}}
	r = r.WithContext(ctx)
	s, err := b.store.New(r, cookieOfStore)
	if s == nil {
		return nil, nil, nil, errors.Join(errors.New("session: the store returned no session"), err)
	}
	var broken securecookie.Error
	if err != nil && (os.IsNotExist(err) || errors.As(err, &broken) && broken.IsDecode()) {
		err = errGone
	}
	raw, ok := s.Values[recordKey].([]byte)
	if err == nil && !ok {
		err = errGone
	}
	return r, s, raw, err
}

// carry is the latest cookie that the store made for a session.
func (b *gorillaBackend) carry(id ident) string {
	if e := b.live.get(id.sid); e != nil {
		if c := e.carry.Load(); c != nil {
			return *c
		}
	}
	return id.carry
}

func (b *gorillaBackend) load(ctx context.Context, id ident) ([]byte, error) {
	_, _, raw, err := b.open(ctx, id)
	return raw, err
}

func (b *gorillaBackend) swap(ctx context.Context, id ident, base, next []byte, ttl time.Duration) ([]byte, error) {
	r, s, raw, err := b.open(ctx, id)
	switch {
	case errors.Is(err, errGone):
		if len(base) > 0 {
			return nil, errGone
		}
	case err != nil:
		return nil, refusal(err)
	case len(base) == 0, !bytes.HasPrefix(raw, base):
		return raw, nil
	}
	s.ID = id.sid // for stores that have IDs
	s.Values = map[any]any{recordKey: next}
	if s.Options == nil {
		s.Options = &sessions.Options{Path: "/"}
	}
	s.Options.MaxAge = int(max(1, ttl.Seconds()))
	w := capture{}
	switch err := b.store.Save(r, w, s); {
	case err == nil:
	case strings.Contains(err.Error(), "the value is too long"): // securecookie's error has only a text
		return nil, fmt.Errorf("%w: the store says: %w", ErrTooLarge, err)
	default:
		return nil, refusal(err)
	}
	if c := w.cookie(); c != "" && c != id.sid {
		b.live.entry(id).carry.Store(&c)
	}
	return nil, nil
}

// refusal tells a store that cannot do it, because of the value or of how it was
// made, from one that is away.
func refusal(err error) error {
	var broken securecookie.Error
	if errors.As(err, &broken) && (broken.IsUsage() || broken.IsInternal()) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
}

// move makes the new session first: a crash between leaves both, which the
// client cannot tell from one.
func (b *gorillaBackend) move(ctx context.Context, m *move) ([]byte, error) {
	raw, err := b.load(ctx, m.from)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(raw, m.base) {
		return raw, nil
	}
	if _, err := b.swap(ctx, m.to, nil, m.next, m.ttl); err != nil {
		return nil, err
	}
	if len(m.left) > 0 {
		_, err = b.swap(ctx, m.from, m.base, m.left, m.leftTTL)
	} else {
		_, err = b.drop(ctx, m.from)
	}
	return nil, err
}

func (b *gorillaBackend) drop(ctx context.Context, id ident) ([]byte, error) {
	r, s, raw, err := b.open(ctx, id)
	if err != nil {
		return nil, err
	}
	s.ID = id.sid
	if s.Options == nil {
		s.Options = &sessions.Options{}
	}
	s.Options.MaxAge = -1
	return raw, b.store.Save(r, capture{}, s)
}

// capture is a response of which only the header matters.
type capture http.Header

// Header is where stores put their cookie.
func (c capture) Header() http.Header       { return http.Header(c) }
func (capture) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader does nothing.
func (capture) WriteHeader(int) {}

// cookie is the value of the store's cookie.
func (c capture) cookie() string {
	res := http.Response{Header: http.Header(c)}
	for _, c := range res.Cookies() {
		if c.Name == cookieOfStore {
			return c.Value
		}
	}
	return ""
}

// carryFormat puts the cookie of a gorilla store behind ours: token.mac~carry.
// It needs no signature: what the store returns opens with our token only.
type carryFormat struct {
	format
	live *live
}

func (f *carryFormat) parseCookie(value, name string) (id ident, stale, ok bool) {
	own, carry := value, ""
	if len(value) > cookieLen && value[cookieLen] == '~' {
		own, carry = value[:cookieLen], value[cookieLen+1:]
	}
	id, stale, ok = f.format.parseCookie(own, name)
	id.carry = carry
	return id, stale, ok
}

func (f *carryFormat) cookieValue(id ident, name string) string {
	value := f.format.cookieValue(id, name)
	if c := f.latest(id); c != "" {
		value += "~" + c
	}
	return value
}

func (f *carryFormat) latest(id ident) string {
	if e := f.live.get(id.sid); e != nil {
		if c := e.carry.Load(); c != nil {
			return *c
		}
	}
	return id.carry
}

// outdated reports whether the client has another cookie than the store's.
func (f *carryFormat) outdated(id ident) bool { return id.token != "" && f.latest(id) != id.carry }
