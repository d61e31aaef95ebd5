package session_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/sessions"

	"github.com/pedro-go/pedro/session"
)

// TestGorillaKeepsWhatSetHasStored: code that saves a session through gorilla need
// not know the types of what it leaves alone.
func TestGorillaKeepsWhatSetHasStored(t *testing.T) {
	t.Parallel()
	m := open(t, nil, session.Config{})
	store := m.GorillaStore()
	type cart struct{ Items []string }
	want := cart{[]string{"apple"}}
	b := newBrowser(t, serve(t, m, map[string]http.HandlerFunc{
		"/set": func(_ http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			err := errors.Join(session.Set(s, "cart", want), session.Set(s, "list", []string{"a"}),
				session.Set(s, "map", map[string]int{"a": 1}), session.Set[*cart](s, "nil", nil), session.Set(s, "n", 5))
			if err != nil {
				t.Error(err)
			}
		},
		"/gorilla": func(w http.ResponseWriter, r *http.Request) {
			gs, err := store.Get(r, session.DefaultName)
			if err != nil {
				t.Error(err)
			}
			gs.AddFlash("hello")
			if err := gs.Save(r, w); err != nil {
				t.Errorf("Save = %v, want nil", err)
			}
		},
		"/check": func(_ http.ResponseWriter, r *http.Request) {
			if got, ok := session.Get[cart](session.From(r.Context()), "cart"); !ok || len(got.Items) != 1 {
				t.Errorf("cart = %v, want %v", got, want)
			}
		},
	}))
	for _, path := range []string{"/set", "/gorilla", "/gorilla", "/check"} {
		b.want(path, 200, "")
	}
}

// TestGorillaSaveAfterLogout: a session that is saved again after its end has all
// that Values hold.
func TestGorillaSaveAfterLogout(t *testing.T) {
	t.Parallel()
	store := open(t, nil, session.Config{}).GorillaStore()
	var rsp *httptest.ResponseRecorder
	save := func(change func(gs *sessions.Session)) {
		req, after := request(t, rsp), httptest.NewRecorder()
		gs, err := store.Get(req, "app")
		if err != nil {
			t.Fatal(err)
		}
		change(gs)
		if err := gs.Save(req, after); err != nil {
			t.Fatal(err)
		}
		rsp = after
	}
	save(func(gs *sessions.Session) { gs.Values["lang"] = "de" })
	save(func(gs *sessions.Session) {
		gs.Options.MaxAge = -1
		if err := gs.Save(request(t, rsp), httptest.NewRecorder()); err != nil {
			t.Fatal(err)
		}
		gs.Options.MaxAge, gs.Values["note"] = 0, "bye"
	})
	save(func(gs *sessions.Session) {
		if gs.Values["lang"] != "de" || gs.Values["note"] != "bye" {
			t.Errorf("got %v, want both values", gs.Values)
		}
	})
}

// TestGorillaEmptySession: what makes a session of nothing is not shown.
func TestGorillaEmptySession(t *testing.T) {
	t.Parallel()
	m := open(t, nil, session.Config{})
	store := m.GorillaStore()
	routes := appRoutes()
	routes["/gorilla"] = func(w http.ResponseWriter, r *http.Request) {
		gs, err := store.Get(r, session.DefaultName)
		if err != nil {
			t.Error(err)
		}
		if err := gs.Save(r, w); err != nil {
			t.Error(err)
		}
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/gorilla", 200, "")
	b.want("/keys", 200, "")
}

// TestGorillaStoreRefuses: a value that a store does not take is the fault of who
// set it, and no outage: it is not said to be saved, and nothing waits for later.
func TestGorillaStoreRefuses(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdef0123456789abcdef")
	for name, c := range map[string]struct {
		store   sessions.Store
		tooLong bool
	}{
		"TooLong": {sessions.NewCookieStore(key), true},
		"NoKey":   {sessions.NewCookieStore(nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := open(t, nil, session.Config{}, session.WithGorillaStore(c.store))
			routes := appRoutes()
			routes["/save"] = func(w http.ResponseWriter, r *http.Request) {
				if err := set(r, "a", strings.Repeat("x", 6000)); err != nil {
					t.Error(err)
				}
				err := session.From(r.Context()).Save(r.Context())
				if err == nil || errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrTooLarge) != c.tooLong {
					t.Errorf("Save = %v, want an error, of ErrTooLarge: %v", err, c.tooLong)
				}
			}
			b := newBrowser(t, serve(t, m, routes))
			if c.tooLong {
				b.want("/set?k=b&v=1", 200, "")
			}
			b.want("/save", 503, "*") // since it could not be saved at the end either
			if n := m.Stats().Waiting; n != 0 {
				t.Errorf("%d sessions wait, want none", n)
			}
			if c.tooLong {
				b.want("/get?k=b", 200, "1")
			}
		})
	}
}
