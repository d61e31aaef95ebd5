package session

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"weak"

	"github.com/gorilla/sessions"
)

// GorillaStore returns a store for code that is written for gorilla/sessions.
// Each name is a session of its own, with a cookie of that name, and has all
// that a session of this package has: a signed cookie, an ID that is never
// adopted, encryption, and merging, key by key, of what parallel requests do to
// Values. The name of [Config] is the session of [From], if the request came
// through [Middleware]; its strings and booleans are the same on both sides,
// other types are in gob, as gorilla's are, and for this side only.
//
// Save saves and sets the cookie at once. Options.MaxAge below 0 ends the
// session. New returns an error that wraps [ErrUnavailable] if it cannot be
// known whether there is a session: do not take that for a logout.
func (m *Manager) GorillaStore() sessions.Store { return &gorillaStore{m: m} }

type gorillaStore struct {
	m      *Manager
	states sync.Map // weak.Pointer[sessions.Session] to *gorillaState
}

// A gorillaState is what a gorilla session stands for.
type gorillaState struct {
	s      *Session
	loaded map[string]json.RawMessage // its Values, as they were
	direct bool                       // not the middleware's: Save sets the cookie
}

// Get returns the session of the request's registry.
func (g *gorillaStore) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(g, name)
}

// New returns the session of the request's cookie, or a new one.
func (g *gorillaStore) New(r *http.Request, name string) (*sessions.Session, error) {
	gs := sessions.NewSession(g, name)
	gs.Options = &sessions.Options{
		Path: g.m.cfg.Path, Domain: g.m.cfg.Domain, HttpOnly: true, SameSite: g.m.cfg.sameSite(),
		Secure: g.m.secure || g.m.isSecure(r), Partitioned: g.m.cfg.Partitioned,
	}
	st := &gorillaState{}
	if own, ok := r.Context().Value(sessionKey{}).(*Session); ok && own.m == g.m && (name == own.name || name == g.m.cfg.Name) {
		st.s = own
	} else {
		st.s, st.direct = &Session{m: g.m, r: r, name: name}, true
	}
	err := st.fill(gs)
	key := weak.Make(gs)
	g.states.Store(key, st)
	runtime.AddCleanup(gs, func(k weak.Pointer[sessions.Session]) { g.states.Delete(k) }, key)
	return gs, err
}

// fill sets the Values of a gorilla session.
func (st *gorillaState) fill(gs *sessions.Session) error {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	gs.IsNew = s.base == nil
	st.loaded = map[string]json.RawMessage{}
	for key, raw := range s.apply(s.base) {
		k, v, err := fromStored(key, raw)
		if err != nil {
			continue // of a type that this program does not know
		}
		gs.Values[k] = v
		st.loaded[key] = raw
	}
	if s.base != nil {
		gs.ID = s.m.ring[0].refOf(s.id.sid)
	}
	if errors.Is(s.err, ErrUnavailable) {
		return s.err
	}
	return nil
}

// Save saves what has changed in Values, and sets the cookie.
func (g *gorillaStore) Save(r *http.Request, w http.ResponseWriter, gs *sessions.Session) error {
	var st *gorillaState
	if v, ok := g.states.Load(weak.Make(gs)); ok {
		st, _ = v.(*gorillaState)
	}
	if st == nil { // made by hand
		st = &gorillaState{s: &Session{m: g.m, r: r, name: gs.Name()}, direct: true}
	}
	s := st.s
	if gs.Options != nil && gs.Options.MaxAge < 0 {
		if err := s.Destroy(); err != nil {
			return err
		}
		st.loaded = nil // a later Save makes a session of all that Values hold
		return st.finish(w, gs)
	}
	now, err := st.stored(gs.Values)
	if err != nil {
		return fmt.Errorf("session: save %q: %w", gs.Name(), err)
	}
	s.mu.Lock()
	err = s.usable()
	for key := range st.loaded { // first: it makes room
		if _, kept := now[key]; !kept && err == nil {
			err = s.put(key, &change{blind: true})
		}
	}
	for key, raw := range now {
		if err == nil && !bytes.Equal(raw, st.loaded[key]) {
			err = s.put(key, &change{blind: true, start: raw, value: raw})
		}
	}
	if err == nil && s.base == nil && len(now) == 0 { // gorilla saves empty sessions too
		err = s.put(emptyKey, &change{blind: true, start: json.RawMessage("true"), value: json.RawMessage("true")})
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := s.Save(r.Context()); err != nil {
		return err
	}
	st.loaded = now
	gs.IsNew = false
	return st.finish(w, gs)
}

// stored is how Values are stored. What did not change keeps its form: JSON of
// [Set] may be of types that gob does not know.
func (st *gorillaState) stored(values map[any]any) (map[string]json.RawMessage, error) {
	now := make(map[string]json.RawMessage, len(values))
	for k, v := range values {
		key, err := storedKey(k)
		if err != nil {
			return nil, err
		}
		raw, ok := st.loaded[key]
		if !ok || !sameStored(key, raw, v) {
			if raw, err = storedValue(v); err != nil {
				return nil, err
			}
		}
		now[key] = raw
	}
	return now, nil
}

// emptyKey makes a session of nothing: it is not shown.
const emptyKey = "\x00empty"

// finish sets the cookie, as Options want it.
func (st *gorillaState) finish(w http.ResponseWriter, gs *sessions.Session) error {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.base != nil {
		gs.ID = s.m.ring[0].refOf(s.id.sid)
	}
	if !st.direct || s.cookie == cookieKeep && s.base == nil {
		return nil // the middleware does
	}
	value := ""
	if s.cookie != cookieClear && s.base != nil {
		value = s.m.format.cookieValue(s.id, s.name)
	}
	opts := sessions.Options{Path: s.m.cfg.Path}
	if gs.Options != nil {
		opts = *gs.Options
	}
	opts.HttpOnly, opts.Secure = true, opts.Secure || s.m.secure
	putCookie(w.Header(), sessions.NewCookie(s.name, value, &opts))
	addVary(w.Header())
	s.cookie = cookieKeep
	return nil
}

// gobValue is how values of other types than string and bool are stored.
type gobValue struct {
	Gob string `json:"$gob"`
}

const gobKey = "\x00gob:" // before keys that are no strings

func storedKey(k any) (string, error) {
	if key, ok := k.(string); ok {
		return key, nil
	}
	b, err := encodeGob(k)
	return gobKey + base64.StdEncoding.EncodeToString(b), err
}

func storedValue(v any) (json.RawMessage, error) {
	switch v := v.(type) {
	case string, bool:
		return json.Marshal(v)
	}
	b, err := encodeGob(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(gobValue{base64.StdEncoding.EncodeToString(b)})
}

func fromStored(key string, raw json.RawMessage) (k, v any, err error) {
	k = key
	if key == emptyKey {
		return nil, nil, errCorrupt
	}
	if rest, ok := strings.CutPrefix(key, gobKey); ok {
		if k, err = decodeGob(rest); err != nil {
			return nil, nil, err
		}
	}
	var g gobValue
	if json.Unmarshal(raw, &g) == nil && g.Gob != "" {
		v, err = decodeGob(g.Gob)
		return k, v, err
	}
	err = json.Unmarshal(raw, &v)
	return k, v, err
}

// sameStored reports whether a value is what was stored. Gob writes maps in any
// order, so equal bytes are not asked for.
func sameStored(key string, old json.RawMessage, v any) bool {
	_, before, err := fromStored(key, old)
	return err == nil && reflect.DeepEqual(before, v)
}

func encodeGob(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(&v)
	return b.Bytes(), err
}

func decodeGob(s string) (v any, err error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, err
	}
	err = gob.NewDecoder(bytes.NewReader(b)).Decode(&v)
	return v, err
}
