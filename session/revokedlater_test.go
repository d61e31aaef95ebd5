package session_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// What is revoked, and what is not, where Redis hears of sessions later.

// TestNewIDWithoutRedisAfterRevokeOthers: who was excepted stays so under
// another ID.
func TestNewIDWithoutRedisAfterRevokeOthers(t *testing.T) {
	t.Parallel()
	p := newSeverable(t, session.Config{}, func(m *session.Manager) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{"/others": others(t, m, nil), "/regenerate": regenerate(t)}
	})
	b := newBrowser(t, p.base)
	b.want("/login?u=ada", 200, "")
	time.Sleep(10 * time.Millisecond)
	b.want("/others", 200, "") // all is well, Redis is there
	b.want("/me", 200, "ada")
	eventually(t, "in step", inStep(p.m))
	p.cut()
	b.want("/regenerate", 200, "")
	b.want("/me", 200, "ada")
	p.heal()
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
	routes["/others"] = others(t, m, nil)
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
	p := newSeverable(t, session.Config{}, func(m *session.Manager) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{"/password": func(w http.ResponseWriter, r *http.Request) {
			others(t, m, session.ErrUnavailable)(w, r)
			regenerate(t)(w, r)
		}}
	})
	b := newBrowser(t, p.base)
	b.want("/login?u=ada", 200, "")
	eventually(t, "in step", inStep(p.m))
	p.cut()
	time.Sleep(10 * time.Millisecond)
	b.want("/password", 200, "")
	b.want("/me", 200, "ada")
	p.heal()
	b.want("/me", 200, "ada")
}

// TestResetPasswordWithoutRedis: a revocation of all and a login in one
// request, in one millisecond.
func TestResetPasswordWithoutRedis(t *testing.T) {
	t.Parallel()
	p := newSeverable(t, session.Config{}, func(m *session.Manager) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{"/reset": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = m.RevokeUser(r.Context(), "ada")
			if err := session.SetAuthenticated(r.Context(), "ada", nil); err != nil {
				t.Error(err)
			}
		}}
	})
	p.cut()
	newBrowser(t, p.base).want("/login?u=bob", 200, "") // it notices
	var last *browser
	for range 3 {
		last = newBrowser(t, p.base)
		last.want("/reset", 200, "")
		last.want("/me", 200, "ada")
	}
	p.heal()
	last.want("/me", 200, "ada")
}
