package session_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// inStep reports whether Redis is there and knows everything.
func inStep(m *session.Manager) func() bool {
	return func() bool { s := m.Stats(); return s.FallbackSince.IsZero() && s.Waiting == 0 }
}

// parted is a process that can be cut off from Redis, and another one. Somebody is
// logged in as ada, which both know.
type parted struct {
	m       *session.Manager // of the process that can be cut off
	proxy   *faultproxy.Proxy
	browser *browser // on it
	other   string   // the other process
	cookie  string   // of the login
}

// part makes them; moreRoutes are served beside those of the app. before are
// visited while Redis is there.
func part(t *testing.T, cfg session.Config, moreRoutes map[string]http.HandlerFunc, before ...string) parted {
	t.Helper()
	routes := appRoutes()
	routes["/regenerate"] = regenerate(t)
	maps.Copy(routes, moreRoutes)
	s := rediscachetest.StartServer(t)
	p := parted{proxy: faultproxy.Start(t, s.Addr(), faultproxy.Redis())}
	p.m = open(t, dial(t, p.proxy.URL(s.URL())), cfg)
	p.browser = newBrowser(t, serve(t, p.m, routes))
	cfg.Timeout = 10 * time.Second
	p.other = serve(t, open(t, dial(t, s.URL()), cfg), routes)
	for _, path := range append([]string{"/login?u=ada"}, before...) {
		p.browser.want(path, 200, "")
	}
	eventually(t, "in Redis", inStep(p.m))
	p.cookie = p.browser.cookies()
	return p
}

// elsewhere visits the other process with the cookie of the login.
func (p *parted) elsewhere(t *testing.T, path string) {
	t.Helper()
	if code, _, _ := raw(t, p.other+path, p.cookie); code != http.StatusOK {
		t.Errorf("%s in the other process: got %d, want 200", path, code)
	}
}

// heal brings Redis back and waits until it knows everything.
func (p *parted) heal(t *testing.T) {
	t.Helper()
	if err := p.proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in step", inStep(p.m))
}

// stillIn wants both processes to know who is logged in.
func (p *parted) stillIn() {
	b := *p.browser
	b.want("/me", 200, "ada")
	b.base = p.other
	b.want("/me", 200, "ada")
}

// scripted reports whether a message is a script that changes a session, on its
// way there, or the reply of one that has.
func scripted(m *faultproxy.Message) (sent, ran bool) {
	sent = m.Dir == faultproxy.ToServer && (m.Commands("evalsha") || m.Commands("eval"))
	ran = (m.Replies("evalsha") || m.Replies("eval")) && m.Data[0] == ':'
	return sent, ran
}

// TestTooLargeTogether: of two writes that are too large together one is lost, and
// the user is not.
func TestTooLargeTogether(t *testing.T) {
	t.Parallel()
	for _, move := range []bool{false, true} {
		t.Run(fmt.Sprintf("Move=%v", move), func(t *testing.T) {
			t.Parallel()
			p := part(t, session.Config{MaxBytes: 2000}, nil)
			p.proxy.Blackhole()
			p.browser.want("/set?k=a&v="+strings.Repeat("x", 1000), 200, "")
			if move {
				p.browser.want("/regenerate", 200, "")
			}
			p.elsewhere(t, "/set?k=b&v="+strings.Repeat("y", 1000))
			p.heal(t)
			p.stillIn()
		})
	}
}

// TestLostReplyOfRotation: the script has run, and nobody will ever hear of it.
func TestLostReplyOfRotation(t *testing.T) {
	t.Parallel()
	p := part(t, session.Config{}, nil)
	var once sync.Once
	p.proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if _, ran := scripted(m); ran {
			once.Do(p.proxy.Blackhole)
		}
		return faultproxy.Pass
	})
	p.browser.want("/regenerate", 200, "")
	p.browser.want("/me", 200, "ada")
	p.heal(t)
	p.stillIn()
}

// TestTwoNewIDsWithoutRedis: the first of two moves was on its way when Redis went,
// and got there or not; the session goes on under the second ID.
func TestTwoNewIDsWithoutRedis(t *testing.T) {
	t.Parallel()
	for _, arrives := range []bool{false, true} {
		t.Run(fmt.Sprintf("Arrives=%v", arrives), func(t *testing.T) {
			t.Parallel()
			p := part(t, session.Config{}, nil)
			var once sync.Once
			p.proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
				if sent, ran := scripted(m); sent && !arrives || ran && arrives {
					once.Do(p.proxy.Blackhole)
				}
				return faultproxy.Pass
			})
			p.browser.want("/regenerate", 200, "")
			second := p.browser.cookies()
			p.browser.want("/regenerate", 200, "")
			p.heal(t)
			p.stillIn()
			for _, old := range []string{p.cookie, second} {
				if code, _, _ := raw(t, p.other+"/me", old); code != http.StatusUnauthorized {
					t.Errorf("an ID before: got %d, want 401", code)
				}
			}
		})
	}
}

// TestUpdateAndNewID: an Update counts although the ID changed without Redis.
func TestUpdateAndNewID(t *testing.T) {
	t.Parallel()
	p := part(t, session.Config{}, nil, "/count")
	p.proxy.Blackhole()
	for _, path := range []string{"/count", "/regenerate", "/count"} {
		p.browser.want(path, 200, "")
	}
	p.elsewhere(t, "/count")
	p.heal(t)
	p.browser.want("/counted", 200, "4")
}

// TestUpdatePanicsLater: the function of an Update is called again when Redis is
// back, on a value for which it was not made. There is no request to fail then, and
// the process must not end.
func TestUpdatePanicsLater(t *testing.T) {
	t.Parallel()
	p := part(t, session.Config{}, map[string]http.HandlerFunc{
		"/push": func(_ http.ResponseWriter, r *http.Request) {
			_ = session.Set(session.From(r.Context()), "stack", []int{1, 2})
		},
		"/clear": func(_ http.ResponseWriter, r *http.Request) { session.From(r.Context()).Delete("stack") },
		"/pop": func(_ http.ResponseWriter, r *http.Request) {
			_ = session.Update(session.From(r.Context()), "stack", func(v []int) []int { return v[:len(v)-1] })
		},
	}, "/push")
	p.proxy.Blackhole()
	p.browser.want("/pop", 200, "")
	p.elsewhere(t, "/clear")
	p.heal(t)
	p.stillIn()
}

// TestOldIDBetweenReturnAndReplay: the ID before is dead in this process also while
// Redis is back and does not know yet.
func TestOldIDBetweenReturnAndReplay(t *testing.T) {
	t.Parallel()
	p := part(t, session.Config{}, nil)
	p.proxy.Blackhole()
	p.browser.want("/regenerate", 200, "")
	p.proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if sent, _ := scripted(m); sent {
			time.Sleep(150 * time.Millisecond) // a replay takes its time
		}
		return faultproxy.Pass
	})
	if err := p.proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	for asked := 0; asked == 0 || !inStep(p.m)(); asked++ {
		if code, _, _ := raw(t, p.browser.base+"/me", p.cookie); code != http.StatusUnauthorized {
			t.Fatalf("the ID before: got %d, want 401", code)
		}
	}
}
