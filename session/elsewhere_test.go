package session_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// A farLogin is somebody who has logged in at a process that is cut off from
// Redis, of which no other process can know.
type farLogin struct {
	m       *session.Manager // of the process that is cut off
	other   *session.Manager
	base    string // of the process that is cut off
	far     string // of the other
	browser *browser
	cookie  string
	heal    func()
}

func newFarLogin(t *testing.T) farLogin {
	t.Helper()
	s := rediscachetest.StartServer(t)
	proxy := faultproxy.Start(t, s.Addr())
	f := farLogin{
		m:     open(t, dial(t, proxy.URL(s.URL())), session.Config{}),
		other: open(t, dial(t, s.URL()), session.Config{Timeout: 10 * time.Second}),
	}
	f.base, f.far = app(t, f.m), app(t, f.other)
	proxy.Blackhole()
	f.browser = newBrowser(t, f.base)
	f.browser.want("/login?u=ada", 200, "")
	f.cookie = f.browser.cookies()
	f.heal = func() {
		t.Helper()
		if err := proxy.Heal(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "in step", inStep(f.m))
	}
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
	s := rediscachetest.StartServer(t)
	proxy := faultproxy.Start(t, s.Addr())
	m := open(t, dial(t, proxy.URL(s.URL())), session.Config{})
	routes := appRoutes()
	routes["/others"] = func(_ http.ResponseWriter, r *http.Request) { _, _ = m.RevokeOthers(r.Context()) }
	base := serve(t, m, routes)
	b, second := newBrowser(t, base), newBrowser(t, base)
	proxy.Blackhole()
	b.want("/login?u=ada", 200, "")
	second.want("/login?u=ada", 200, "")
	time.Sleep(10 * time.Millisecond)
	b.want("/others", 200, "")
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in step", inStep(m))
	b.want("/me", 200, "ada")
	second.want("/me", 401, "nobody")
}

// TestLogoutWhereMovedLoginIsUnknown: the login went on from an
// anonymous session that Redis knows.
func TestLogoutWhereMovedLoginIsUnknown(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	proxy := faultproxy.Start(t, s.Addr())
	m := open(t, dial(t, proxy.URL(s.URL())), session.Config{})
	other := open(t, dial(t, s.URL()), session.Config{Timeout: 10 * time.Second})
	base, far := app(t, m), app(t, other)
	b := newBrowser(t, base)
	b.want("/set?k=cart&v=1", 200, "") // an anonymous session, in Redis
	eventually(t, "in step", inStep(m))
	proxy.Blackhole()
	b.want("/login?u=ada", 200, "")
	cookie := b.cookies()
	if code, _, h := raw(t, far+"/logout", cookie); code != 200 || h.Get("Set-Cookie") == "" {
		t.Errorf("logout: %d %q", code, h.Get("Set-Cookie"))
	}
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in step", inStep(m))
	for _, at := range []string{base, far} {
		if code, body, _ := raw(t, at+"/me", cookie); code != http.StatusUnauthorized {
			t.Errorf("after the logout: got %d %q, want 401", code, body)
		}
	}
}

// TestLogoutOutlastsIdleTimeout: the process is cut off for longer than a
// session may be idle, and somebody goes on with a copy of the cookie.
func TestLogoutOutlastsIdleTimeout(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	proxy := faultproxy.Start(t, s.Addr())
	cfg := session.Config{IdleTimeout: 2 * time.Second, TouchEvery: 200 * time.Millisecond, Lifetime: time.Hour, RegenerateEvery: -1, RegenerateGrace: time.Millisecond}
	far := cfg
	far.Timeout = 10 * time.Second
	m, other := open(t, dial(t, proxy.URL(s.URL())), cfg), open(t, dial(t, s.URL()), far)
	base, farBase := app(t, m), app(t, other)
	proxy.Blackhole()
	b := newBrowser(t, base)
	b.want("/login?u=ada", 200, "")
	cookie := b.cookies()
	raw(t, farBase+"/logout", cookie)
	for range 12 { // whoever has the cookie too goes on with it
		b.want("/me", 200, "ada")
		time.Sleep(250 * time.Millisecond)
	}
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in step", inStep(m))
	third := app(t, open(t, dial(t, s.URL()), far)) // as other, restarted
	if code, body, _ := raw(t, third+"/me", cookie); code != 401 {
		t.Errorf("logged out: got %d %q, want 401", code, body)
	}
}
