package session_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/session"
)

// always writes down every use.
const always = time.Nanosecond

// widest is a user agent than which none takes more in a record.
func widest() string { return strings.Repeat("<", 300) }

// TestLowerLimit: a session from before the limit was lowered stays in use, and
// may become smaller but not larger.
func TestLowerLimit(t *testing.T) {
	t.Parallel()
	url := redisURL(t)
	b := newBrowser(t, app(t, open(t, dial(t, url), session.Config{})))
	b.want("/login?u=ada", 200, "")
	for i := range 8 {
		b.want(fmt.Sprintf("/set?k=k%d&v=%s", i, strings.Repeat("x", 500)), 200, "")
	}
	m := open(t, dial(t, url), session.Config{MaxBytes: 2000, TouchEvery: always})
	routes := appRoutes()
	routes["/delete"] = func(_ http.ResponseWriter, r *http.Request) { session.From(r.Context()).Delete(r.FormValue("k")) }
	b.base = serve(t, m, routes)
	b.want("/me", 200, "ada")
	if n := m.Stats().Touches; n != 1 {
		t.Errorf("its use was written down %d times, want once", n)
	}
	b.want("/delete?k=k0", 200, "")
	b.want("/set?k=k1&v=smaller", 200, "")
	b.want("/get?k=k0", 200, "")
	b.want("/get?k=k1", 200, "smaller")
	b.want("/login?u=ada", 200, "")
	b.want("/me", 200, "ada")
	b.want("/set?k=k1&v="+strings.Repeat("x", 600), 500, "*")
}

// TestUseOfAFullSession: is written down whatever the client calls itself.
func TestUseOfAFullSession(t *testing.T) {
	t.Parallel()
	eachBackend(t, session.Config{MaxBytes: 4096, TouchEvery: always}, func(t *testing.T, m *session.Manager) {
		t.Helper()
		b := newBrowser(t, app(t, m))
		b.want("/login?u=ada", 200, "")
		for n := 4096; ; n -= 64 {
			if code, _ := b.get("/set?k=k&v=" + strings.Repeat("x", n)); code == http.StatusOK {
				break
			}
		}
		before := m.Stats().Touches
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.base+"/me", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("User-Agent", widest())
		res, err := b.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if n := m.Stats().Touches - before; res.StatusCode != http.StatusOK || n != 1 {
			t.Errorf("got %d, and the use was written down %d times, want 200 and once", res.StatusCode, n)
		}
	})
}

// TestTooLargeIsToldAtTheCall: who sets too much gets an error, and not a response
// of 503 for what was said to be set.
func TestTooLargeIsToldAtTheCall(t *testing.T) {
	t.Parallel()
	m := open(t, nil, session.Config{MaxBytes: 8192})
	try := func(change func(s *session.Session) error) error {
		var told error
		h := session.Middleware(m)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			told = change(session.From(r.Context()))
		}))
		r, w := httptest.NewRequest(http.MethodGet, "/", http.NoBody), httptest.NewRecorder()
		r.RemoteAddr = "[2001:db8:1111:2222:3333:4444:5555:6666]:7777"
		r.Header.Set("User-Agent", widest())
		h.ServeHTTP(w, r)
		if told == nil && w.Code != http.StatusOK || told != nil && !errors.Is(told, session.ErrTooLarge) {
			t.Errorf("the call returned %v, and the response is %d %q", told, w.Code, w.Body)
		}
		return told
	}
	for name, change := range map[string]func(s *session.Session, n int) error{
		"value": func(s *session.Session, n int) error { return session.Set(s, "k", strings.Repeat("x", n)) },
		"key":   func(s *session.Session, n int) error { return session.Set(s, strings.Repeat("<", n), 1) },
		"user":  func(s *session.Session, n int) error { return s.SetAuthenticated(strings.Repeat("u", n), nil) },
		"user after a value": func(s *session.Session, n int) error {
			return errors.Join(session.Set(s, "k", strings.Repeat("x", 4000)), s.SetAuthenticated(strings.Repeat("u", n), nil))
		},
		"keys": func(s *session.Session, n int) (err error) {
			for i := range n / 8 {
				err = errors.Join(err, session.Set(s, fmt.Sprint(i), 1))
			}
			return err
		},
	} {
		refused := 0
		for n := 128; n <= 10000; n += 128 {
			if try(func(s *session.Session) error { return change(s, n) }) != nil {
				refused++
			}
		}
		if refused == 0 || refused == 10000/128 {
			t.Errorf("%s: %d of %d sizes refused, want some", name, refused, 10000/128)
		}
	}
}
