package session_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

func inStep(m *session.Manager) func() bool {
	return func() bool { s := m.Stats(); return s.FallbackSince.IsZero() && s.Waiting == 0 }
}

func apart(t *testing.T, cfg session.Config, routes map[string]http.HandlerFunc) (m *session.Manager, proxy *faultproxy.Proxy, cutOff, other string) {
	t.Helper()
	t.Helper()
	s := rediscachetest.StartServer(t)
	proxy = faultproxy.Start(t, s.Addr(), faultproxy.Redis())
	m = open(t, dial(t, proxy.URL(s.URL())), cfg)
	far := cfg
	far.Timeout = 10 * time.Second
	return m, proxy, serve(t, m, routes), serve(t, open(t, dial(t, s.URL()), far), routes)
}

func routesWithRegenerate(t *testing.T) map[string]http.HandlerFunc {
	t.Helper()
	routes := appRoutes()
	routes["/regenerate"] = func(_ http.ResponseWriter, r *http.Request) {
		if err := session.From(r.Context()).Regenerate(); err != nil {
			t.Error(err)
		}
	}
	return routes
}

func TestTooLargeTogether(t *testing.T) {
	t.Parallel()
	for _, move := range []bool{false, true} {
		t.Run(fmt.Sprintf("Move=%v", move), func(t *testing.T) {
			t.Parallel()
			m, proxy, cutOff, other := apart(t, session.Config{MaxBytes: 2000}, routesWithRegenerate(t))
			b := newBrowser(t, cutOff)
			b.want("/login?u=ada", 200, "")
			eventually(t, "in Redis", inStep(m))
			cookie := b.cookies()
			proxy.Blackhole()
			b.want("/set?k=a&v="+strings.Repeat("x", 1000), 200, "")
			if move {
				b.want("/regenerate", 200, "")
			}
			if code, _, _ := raw(t, other+"/set?k=b&v="+strings.Repeat("y", 1000), cookie); code != 200 {
				t.Error(code)
			}
			if err := proxy.Heal(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "in step", inStep(m))
			b.want("/me", 200, "ada")
			b.base = other
			b.want("/me", 200, "ada")
		})
	}
}

func TestLostReplyOfRotation(t *testing.T) {
	t.Parallel()
	routes := routesWithRegenerate(t)
	m, proxy, cutOff, other := apart(t, session.Config{}, routes)
	b := newBrowser(t, cutOff)
	b.want("/login?u=ada", 200, "")
	var once sync.Once
	proxy.OnMessage(func(msg *faultproxy.Message) faultproxy.Verdict {
		if (msg.Replies("evalsha") || msg.Replies("eval")) && msg.Data[0] == ':' {
			once.Do(proxy.Blackhole) // the script ran, and nobody hears of it
		}
		return faultproxy.Pass
	})
	b.want("/regenerate", 200, "")
	b.want("/me", 200, "ada")
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in step", inStep(m))
	b.want("/me", 200, "ada")
	b.base = other
	b.want("/me", 200, "ada")
}

func TestUpdateAndNewID(t *testing.T) {
	t.Parallel()
	m, proxy, cutOff, other := apart(t, session.Config{}, routesWithRegenerate(t))
	b := newBrowser(t, cutOff)
	b.want("/login?u=ada", 200, "")
	b.want("/count", 200, "")
	eventually(t, "in Redis", inStep(m))
	cookie := b.cookies()
	proxy.Blackhole()
	b.want("/count", 200, "")
	b.want("/regenerate", 200, "")
	b.want("/count", 200, "")
	if code, _, _ := raw(t, other+"/count", cookie); code != 200 {
		t.Error(code)
	}
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in step", inStep(m))
	b.want("/counted", 200, "4")
}

func TestUpdatePanicsLater(t *testing.T) {
	t.Parallel()
	routes := routesWithRegenerate(t)
	routes["/pop"] = func(_ http.ResponseWriter, r *http.Request) {
		_ = session.Update(session.From(r.Context()), "stack", func(v []int) []int { return v[:len(v)-1] })
	}
	routes["/push"] = func(_ http.ResponseWriter, r *http.Request) {
		_ = session.Set(session.From(r.Context()), "stack", []int{1, 2})
	}
	routes["/clear"] = func(_ http.ResponseWriter, r *http.Request) {
		session.From(r.Context()).Delete("stack")
	}
	m, proxy, cutOff, other := apart(t, session.Config{}, routes)
	b := newBrowser(t, cutOff)
	b.want("/login?u=ada", 200, "")
	b.want("/push", 200, "")
	eventually(t, "in Redis", inStep(m))
	cookie := b.cookies()
	proxy.Blackhole()
	b.want("/pop", 200, "")
	raw(t, other+"/clear", cookie)
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in step", inStep(m))
	b.want("/me", 200, "ada")
}

func TestOldIDBetweenReturnAndReplay(t *testing.T) {
	t.Parallel()
	m, proxy, cutOff, _ := apart(t, session.Config{}, routesWithRegenerate(t))
	b := newBrowser(t, cutOff)
	b.want("/login?u=ada", 200, "")
	eventually(t, "in Redis", inStep(m))
	old := b.cookies()
	proxy.Blackhole()
	b.want("/regenerate", 200, "")
	if code, _, _ := raw(t, cutOff+"/me", old); code != 401 {
		t.Errorf("the old ID in the outage: %d", code)
	}
	proxy.OnMessage(func(msg *faultproxy.Message) faultproxy.Verdict {
		if msg.Dir == faultproxy.ToServer && msg.Commands("evalsha") {
			time.Sleep(150 * time.Millisecond) // a replay takes its time
		}
		return faultproxy.Pass
	})
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	alive := 0
	for !inStep(m)() {
		if code, _, _ := raw(t, cutOff+"/me", old); code == 200 {
			alive++
		}
	}
	if alive > 0 {
		t.Errorf("the old ID was alive again in %d requests", alive)
	}
}

// TestTwoNewIDsWithoutRedis: the first of two moves was on its way when Redis went,
// and got there or not; the session goes on under the second ID.
func TestTwoNewIDsWithoutRedis(t *testing.T) {
	t.Parallel()
	for _, arrives := range []bool{false, true} {
		t.Run(fmt.Sprintf("Arrives=%v", arrives), func(t *testing.T) {
			t.Parallel()
			m, proxy, cutOff, other := apart(t, session.Config{}, routesWithRegenerate(t))
			b := newBrowser(t, cutOff)
			b.want("/login?u=ada", 200, "")
			eventually(t, "in Redis", inStep(m))
			first := b.cookies()
			var once sync.Once
			proxy.OnMessage(func(msg *faultproxy.Message) faultproxy.Verdict {
				sent := msg.Dir == faultproxy.ToServer && (msg.Commands("evalsha") || msg.Commands("eval"))
				ran := (msg.Replies("evalsha") || msg.Replies("eval")) && msg.Data[0] == ':'
				if sent && !arrives || ran && arrives {
					once.Do(proxy.Blackhole)
				}
				return faultproxy.Pass
			})
			b.want("/regenerate", 200, "")
			second := b.cookies()
			b.want("/regenerate", 200, "")
			if err := proxy.Heal(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "in step", inStep(m))
			b.want("/me", 200, "ada")
			b.base = other
			b.want("/me", 200, "ada")
			for _, old := range []string{first, second} {
				if code, _, _ := raw(t, other+"/me", old); code != http.StatusUnauthorized {
					t.Errorf("an ID before: got %d, want 401", code)
				}
			}
		})
	}
}
