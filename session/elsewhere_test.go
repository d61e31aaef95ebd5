package session_test

import (
	"errors"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// A severable process can be cut off from Redis.
type severable struct {
	m    *session.Manager
	base string
	url  string // of Redis, for other processes
	cut  func()
	heal func() // and waits until all is in Redis
}

// newSeverable starts one. more makes routes beside those of the app; nil: none.
func newSeverable(t *testing.T, cfg session.Config, more func(m *session.Manager) map[string]http.HandlerFunc) severable {
	t.Helper()
	s := rediscachetest.StartServer(t)
	proxy := faultproxy.Start(t, s.Addr())
	m := open(t, dial(t, proxy.URL(s.URL())), cfg)
	routes := appRoutes()
	if more != nil {
		maps.Copy(routes, more(m))
	}
	return severable{m: m, base: serve(t, m, routes), url: s.URL(), cut: proxy.Blackhole, heal: func() {
		t.Helper()
		if err := proxy.Heal(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "in step", inStep(m))
	}}
}

// others is a route that revokes the user's other sessions.
func others(t *testing.T, m *session.Manager, want error) http.HandlerFunc {
	t.Helper()
	return func(_ http.ResponseWriter, r *http.Request) {
		if _, err := m.RevokeOthers(r.Context()); !errors.Is(err, want) {
			t.Errorf("RevokeOthers = %v, want %v", err, want)
		}
	}
}

// regenerate is a route that gives the client a new ID.
func regenerate(t *testing.T) http.HandlerFunc {
	t.Helper()
	return func(_ http.ResponseWriter, r *http.Request) {
		if err := session.From(r.Context()).Regenerate(); err != nil {
			t.Error(err)
		}
	}
}

// A farLogin is somebody who has logged in at a process that is cut off from
// Redis, of which no other process can know.
type farLogin struct {
	severable
	other   *session.Manager // of another process
	far     string           // that one's address
	browser *browser
	cookie  string
}

func newFarLogin(t *testing.T) farLogin {
	t.Helper()
	f := farLogin{severable: newSeverable(t, session.Config{}, nil)}
	f.other = open(t, dial(t, f.url), session.Config{Timeout: 10 * time.Second})
	f.far = app(t, f.other)
	f.cut()
	f.browser = newBrowser(t, f.base)
	f.browser.want("/login?u=ada", 200, "")
	f.cookie = f.browser.cookies()
	return f
}

// out checks that a cookie is worth nothing anywhere.
func (f farLogin) out(t *testing.T, what, cookie string) {
	t.Helper()
	for _, base := range []string{f.base, f.far} {
		if code, body, _ := raw(t, base+"/me", cookie); code != http.StatusUnauthorized {
			t.Errorf("%s, at %s: got %d %q, want 401", what, base, code, body)
		}
	}
}

// TestLogoutWhereLoginIsUnknown: the client is told to forget the cookie, and
// the login that comes to Redis later is over.
func TestLogoutWhereLoginIsUnknown(t *testing.T) {
	t.Parallel()
	f := newFarLogin(t)
	code, _, header := raw(t, f.far+"/logout", f.cookie)
	if code != 200 || header.Get("Set-Cookie") == "" {
		t.Errorf("the logout: got %d and Set-Cookie %q", code, header.Get("Set-Cookie"))
	}
	f.heal()
	f.out(t, "after the logout", f.cookie)
	// Whoever still shows it can log in.
	b := newBrowser(t, f.far)
	b.want("/login?u=ada", 200, "")
	b.want("/me", 200, "ada")
}

// TestLateLoginAfterLogoutElsewhere: the login was stuck on its way, and the
// logout went to another process.
func TestLateLoginAfterLogoutElsewhere(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	client := dial(t, url)
	other := app(t, open(t, client, session.Config{Timeout: 10 * time.Second}))
	newBrowser(t, other).want("/login?u=x", 200, "") // Redis knows the scripts
	arrive := make(chan struct{})
	h := &slowFirst{match: isScript, before: func() { <-arrive }}
	slow := dial(t, url)
	slow.AddHook(h)
	m := open(t, slow, session.Config{})
	b := newBrowser(t, app(t, m))
	h.armed.Store(true)
	b.want("/login?u=ada", 200, "")
	cookie := b.cookies()
	eventually(t, "in step", inStep(m)) // what the process has kept is in Redis: this command would make it again
	if code, _, _ := raw(t, other+"/logout", cookie); code != 200 {
		t.Error(code)
	}
	close(arrive)
	eventually(t, "arrived", h.done.Load)
	for _, base := range []string{b.base, other} {
		if code, body, _ := raw(t, base+"/me", cookie); code != http.StatusUnauthorized {
			t.Errorf("at %s: got %d %q, want 401", base, code, body)
		}
	}
}

// TestRevokeUserWhereLoginIsUnknown: a change of password ends the logins
// before it that come to Redis later, and no other.
func TestRevokeUserWhereLoginIsUnknown(t *testing.T) {
	t.Parallel()
	f := newFarLogin(t)
	bob := newBrowser(t, f.base)
	bob.want("/login?u=bob", 200, "")
	time.Sleep(10 * time.Millisecond)
	if _, err := f.other.RevokeUser(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	again := newBrowser(t, f.base)
	again.want("/login?u=ada", 200, "") // with the new password
	f.heal()
	f.out(t, "revoked", f.cookie)
	again.want("/me", 200, "ada")
	bob.want("/me", 200, "bob")
}

// TestRevokeOthersSparesUnknownLogin: who asks is not one of the others, though
// Redis does not know the login yet.
func TestRevokeOthersSparesUnknownLogin(t *testing.T) {
	t.Parallel()
	p := newSeverable(t, session.Config{}, func(m *session.Manager) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{"/others": others(t, m, session.ErrUnavailable)}
	})
	b, second := newBrowser(t, p.base), newBrowser(t, p.base)
	p.cut()
	b.want("/login?u=ada", 200, "")
	second.want("/login?u=ada", 200, "")
	time.Sleep(10 * time.Millisecond)
	b.want("/others", 200, "")
	p.heal()
	b.want("/me", 200, "ada")
	second.want("/me", 401, "nobody")
}

// TestLogoutWhereMovedLoginIsUnknown: the login went on from an
// anonymous session that Redis knows.
func TestLogoutWhereMovedLoginIsUnknown(t *testing.T) {
	t.Parallel()
	p := newSeverable(t, session.Config{}, nil)
	far := app(t, open(t, dial(t, p.url), session.Config{Timeout: 10 * time.Second}))
	b := newBrowser(t, p.base)
	b.want("/set?k=cart&v=1", 200, "")
	eventually(t, "in Redis", inStep(p.m))
	p.cut()
	b.want("/login?u=ada", 200, "")
	cookie := b.cookies()
	if code, _, h := raw(t, far+"/logout", cookie); code != 200 || h.Get("Set-Cookie") == "" {
		t.Errorf("logout: %d %q", code, h.Get("Set-Cookie"))
	}
	p.heal()
	farLogin{severable: p, far: far}.out(t, "after the logout", cookie)
}

// TestLogoutOutlastsIdleTimeout: the process is cut off for longer than a
// session may be idle, and somebody goes on with a copy of the cookie.
func TestLogoutOutlastsIdleTimeout(t *testing.T) {
	t.Parallel()
	cfg := session.Config{IdleTimeout: 2 * time.Second, TouchEvery: 200 * time.Millisecond, Lifetime: time.Hour, RegenerateEvery: -1, RegenerateGrace: time.Millisecond}
	far := cfg
	far.Timeout = 10 * time.Second
	p := newSeverable(t, cfg, nil)
	farBase := app(t, open(t, dial(t, p.url), far))
	p.cut()
	b := newBrowser(t, p.base)
	b.want("/login?u=ada", 200, "")
	cookie := b.cookies()
	raw(t, farBase+"/logout", cookie)
	for range 12 { // whoever has the cookie too goes on with it
		b.want("/me", 200, "ada")
		time.Sleep(250 * time.Millisecond)
	}
	p.heal()
	third := app(t, open(t, dial(t, p.url), far)) // as other, restarted
	if code, body, _ := raw(t, third+"/me", cookie); code != 401 {
		t.Errorf("logged out: got %d %q, want 401", code, body)
	}
}
