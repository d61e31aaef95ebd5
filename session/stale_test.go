package session_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

const newSecret = "c1d47a90be2f6835d0a9e4b7718f52c6"

// TestStaleCookieUndoesNoLogin: a request shows a cookie of an old secret, and
// somebody logs in beside it. Its answer may come after the login's, so it must not
// say anything about the cookie, whether it writes or only reads.
func TestStaleCookieUndoesNoLogin(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(s *session.Session){
		"write": func(s *session.Session) { _ = session.Set(s, "late", 1) },
		"read":  func(s *session.Session) { _ = s.UserID() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := rediscachetest.Start(t)
			old := newBrowser(t, app(t, open(t, dial(t, url), session.Config{})))
			old.want("/login?u=ada", 200, "")
			cookie := old.cookies()
			routes := appRoutes()
			routes["/late"] = func(_ http.ResponseWriter, r *http.Request) {
				use(session.From(r.Context()))
				raw(t, "http://"+r.Host+"/login?u=ada", r.Header.Get("Cookie"))
			}
			base := serve(t, open(t, dial(t, url), session.Config{Secrets: []string{newSecret, secret}}), routes)
			if name == "read" {
				raw(t, base+"/me", cookie) // seals the record anew, or a read would write; that response is lost
			}
			if _, _, h := raw(t, base+"/late", cookie); h.Get("Set-Cookie") != "" {
				t.Errorf("Set-Cookie %q, want none", h.Get("Set-Cookie"))
			}
		})
	}
}

// TestRegenerateAndHijack: an ID that nobody would hear of is not changed.
func TestRegenerateAndHijack(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	routes := appRoutes()
	routes["/ws"] = func(w http.ResponseWriter, r *http.Request) {
		if err := session.From(r.Context()).Regenerate(); err != nil {
			t.Error(err)
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		_ = c.Close()
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/login?u=ada", 200, "")
	b.want("/ws", 200, "ok")
	b.want("/me", 200, "ada")
}

// TestFailedHijack: what is answered instead, as on HTTP/2, carries the cookie.
func TestFailedHijack(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	h := session.Middleware(m)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := session.SetAuthenticated(r.Context(), "ada", nil); err != nil {
			t.Error(err)
		}
		if _, _, err := http.NewResponseController(w).Hijack(); err == nil {
			t.Error("hijacked")
		}
		_, _ = io.WriteString(w, "plain")
	}))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	if rec.Code == 200 && rec.Header().Get("Set-Cookie") == "" {
		t.Error("200 and no cookie: the login is lost")
	}
}

// TestFailedLoginChangesNothing: the session stays that of who was logged in.
func TestFailedLoginChangesNothing(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{MaxBytes: 2000})
	routes := appRoutes()
	routes["/switch"] = func(w http.ResponseWriter, r *http.Request) {
		err := session.SetAuthenticated(r.Context(), "bob", map[string]any{"huge": strings.Repeat("x", 3000)})
		if !errors.Is(err, session.ErrTooLarge) {
			t.Errorf("got %v", err)
		}
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/login?u=ada", 200, "")
	b.want("/set?k=cart&v=apple", 200, "")
	b.want("/switch", 200, "")
	b.want("/me", 200, "ada")
	b.want("/get?k=cart", 200, "apple")
}

// TestLegacyAfterLogout: the cookie of an imported session that was logged out is
// nobody's, and no outage.
func TestLegacyAfterLogout(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	client := dial(t, url)
	m := open(t, client, session.Config{}, session.WithRedisstoreRecords(session.RedisstoreConfig{Name: "app", UserKey: "user"}))
	legacy, _ := redisstoreSession(t, client)
	base := app(t, m)
	_, _, h := raw(t, base+"/me", legacy)
	own, _, _ := strings.Cut(h.Get("Set-Cookie"), ";")
	_, _, h = raw(t, base+"/login?u=ada", legacy+"; "+own)
	own, _, _ = strings.Cut(h.Get("Set-Cookie"), ";")
	if code, _, _ := raw(t, base+"/logout", legacy+"; "+own); code != 200 {
		t.Error(code)
	}
	if code, body, _ := raw(t, base+"/me", legacy); code != 401 { // pedro.sid is cleared, the other one never is
		t.Errorf("got %d %q, want 401", code, body)
	}
}

// TestWriteAfterStop: what is answered with 200 is saved.
func TestWriteAfterStop(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	b := newBrowser(t, app(t, m))
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, _ := b.get("/login?u=ada"); code == 200 {
		t.Errorf("a login after Stop got 200, and is in memory only: %d waiting", m.Stats().Waiting)
	}
}

// TestBytesAreRefused: JSON turns what is not UTF-8 into one character, and so two
// users, or keys, into one.
func TestBytesAreRefused(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	session.Middleware(m)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := session.SetAuthenticated(r.Context(), "\xfe\x01", nil); err == nil {
			t.Error("a user ID of bytes is taken")
		}
		if err := session.Set(session.From(r.Context()), "\xff", 1); err == nil {
			t.Error("a key of bytes is taken")
		}
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
}
