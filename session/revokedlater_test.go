package session_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// What is revoked, and what is not, where Redis hears of sessions later.

// TestNewIDWithoutRedisAfterRevokeOthers: who was excepted stays so under
// another ID.
func TestNewIDWithoutRedisAfterRevokeOthers(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	proxy := faultproxy.Start(t, s.Addr())
	m := open(t, dial(t, proxy.URL(s.URL())), session.Config{})
	routes := appRoutes()
	routes["/others"] = func(_ http.ResponseWriter, r *http.Request) {
		if _, err := m.RevokeOthers(r.Context()); err != nil {
			t.Error(err)
		}
	}
	routes["/regenerate"] = func(_ http.ResponseWriter, r *http.Request) {
		if err := session.From(r.Context()).Regenerate(); err != nil {
			t.Error(err)
		}
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/login?u=ada", 200, "")
	time.Sleep(10 * time.Millisecond)
	b.want("/others", 200, "") // all is well, Redis is there
	b.want("/me", 200, "ada")
	eventually(t, "in step", inStep(m))
	proxy.Blackhole()
	b.want("/regenerate", 200, "")
	b.want("/me", 200, "ada")
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in step", inStep(m))
	b.want("/me", 200, "ada")
}

// TestLateListingAfterRevokeOthers: the same if the list of the user's
// sessions hears of that ID late.
func TestLateListingAfterRevokeOthers(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	client := dial(t, url)
	h := &slowFirst{delay: 600 * time.Millisecond, match: func(cmd redis.Cmder) bool {
		if !isScript(cmd) {
			return false
		}
		for _, a := range cmd.Args() {
			if k, ok := a.(string); ok && strings.Contains(k, "user:") {
				return true
			}
		}
		return false
	}}
	client.AddHook(h)
	m := open(t, client, session.Config{RegenerateEvery: time.Second, RegenerateGrace: time.Second})
	routes := appRoutes()
	routes["/others"] = func(_ http.ResponseWriter, r *http.Request) {
		if _, err := m.RevokeOthers(r.Context()); err != nil {
			t.Error(err)
		}
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/login?u=ada", 200, "")
	time.Sleep(10 * time.Millisecond)
	b.want("/others", 200, "")
	b.want("/me", 200, "ada")
	time.Sleep(1100 * time.Millisecond)
	before := b.cookies()
	h.armed.Store(true)
	b.want("/me", 200, "ada") // gets a new ID
	if b.cookies() == before {
		t.Fatal("no rotation")
	}
	eventually(t, "done", h.done.Load)
	eventually(t, "in step", inStep(m))
	b.want("/me", 200, "ada")
}

// TestRevokeOthersAndNewIDWithoutRedis: both in one request, which a change of
// password does.
func TestRevokeOthersAndNewIDWithoutRedis(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	proxy := faultproxy.Start(t, s.Addr())
	m := open(t, dial(t, proxy.URL(s.URL())), session.Config{})
	routes := appRoutes()
	routes["/password"] = func(_ http.ResponseWriter, r *http.Request) {
		_, _ = m.RevokeOthers(r.Context())
		if err := session.From(r.Context()).Regenerate(); err != nil {
			t.Error(err)
		}
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/login?u=ada", 200, "")
	eventually(t, "in step", inStep(m))
	proxy.Blackhole()
	time.Sleep(10 * time.Millisecond)
	b.want("/password", 200, "")
	b.want("/me", 200, "ada")
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in step", inStep(m))
	b.want("/me", 200, "ada")
}

// TestResetPasswordWithoutRedis: a revocation of all and a login in one
// request, in one millisecond.
func TestResetPasswordWithoutRedis(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	proxy := faultproxy.Start(t, s.Addr())
	m := open(t, dial(t, proxy.URL(s.URL())), session.Config{})
	routes := appRoutes()
	routes["/reset"] = func(_ http.ResponseWriter, r *http.Request) {
		_, _ = m.RevokeUser(r.Context(), "ada")
		if err := session.SetAuthenticated(r.Context(), "ada", nil); err != nil {
			t.Error(err)
		}
	}
	base := serve(t, m, routes)
	proxy.Blackhole()
	newBrowser(t, base).want("/login?u=bob", 200, "")
	var all []*browser
	for range 3 {
		b := newBrowser(t, base)
		b.want("/reset", 200, "")
		b.want("/me", 200, "ada")
		all = append(all, b)
	}
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in step", inStep(m))
	all[2].want("/me", 200, "ada")
}
