package session_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestLostReplies: Redis does what it was told and the connection breaks before
// it can say so. The client library sends the command again, and what it then
// finds there is its own.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]session.Option{"Native": nil, "Express": {session.WithExpressSessions(session.ExpressConfig{})}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := rediscachetest.StartServer(t)
			proxy := faultproxy.Start(t, s.Addr(), faultproxy.Redis())
			m := open(t, dial(t, proxy.URL(s.URL())), session.Config{Timeout: 10 * time.Second}, opts...)
			var armed atomic.Bool
			var cut atomic.Int64
			proxy.OnMessage(func(msg *faultproxy.Message) faultproxy.Verdict {
				script := msg.Replies("evalsha") || msg.Replies("eval")
				if !script || msg.Data[0] == '-' || !armed.CompareAndSwap(true, false) {
					return faultproxy.Pass
				}
				cut.Add(1)
				return faultproxy.Cut
			})
			b := newBrowser(t, app(t, m))
			paths := []string{"/set?k=a&v=1", "/set?k=a&v=2", "/count", "/count", "/login?u=ada", "/count", "/login?u=ada"}
			for _, path := range paths {
				armed.Store(true)
				b.want(path, 200, "")
			}
			b.want("/me", 200, "ada")
			b.want("/get?k=a", 200, "2")
			b.want("/counted", 200, "3")
			if list, err := m.Sessions(t.Context(), "ada"); err != nil || len(list) != 1 {
				t.Errorf("Sessions = %d, %v, want 1", len(list), err)
			}
			left := b.cookies()
			armed.Store(true)
			b.want("/logout", 200, "")
			if code, _, _ := raw(t, b.base+"/me", left); code != 401 {
				t.Errorf("after the logout: %d, want 401", code)
			}
			if got, want := int(cut.Load()), len(paths)+1; got != want {
				t.Errorf("%d replies were lost, want %d", got, want)
			}
		})
	}
}

// TestLostReplyUnderOthers: the same, and before the command is sent again
// another process has saved. An Update must not be done twice on top of that.
func TestLostReplyUnderOthers(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	proxy := faultproxy.Start(t, s.Addr(), faultproxy.Redis())
	m := open(t, dial(t, proxy.URL(s.URL())), session.Config{Timeout: 10 * time.Second})
	there := app(t, open(t, dial(t, s.URL()), session.Config{Timeout: 10 * time.Second}))
	b := newBrowser(t, app(t, m))
	b.want("/set?k=a&v=1", 200, "")
	b.want("/count", 200, "")
	cookie := b.cookies()
	var once sync.Once
	var lost atomic.Bool
	proxy.OnMessage(func(msg *faultproxy.Message) faultproxy.Verdict {
		verdict := faultproxy.Pass
		if msg.Replies("evalsha") && msg.Data[0] != '-' {
			once.Do(func() {
				if code, _, _ := raw(t, there+"/set?k=b&v=2", cookie); code != 200 {
					t.Errorf("the save of another process got %d", code)
				}
				lost.Store(true)
				verdict = faultproxy.Cut
			})
		}
		return verdict
	})
	b.want("/count", 200, "")
	b.want("/counted", 200, "2")
	b.want("/get?k=b", 200, "2")
	if !lost.Load() {
		t.Error("no reply was lost")
	}
}

// TestLateArrival: a save that nobody answered reaches Redis after all, when
// what it set has been deleted again here. It must not come back by that.
func TestLateArrival(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	m := open(t, dial(t, s.URL()), session.Config{})
	routes := appRoutes()
	routes["/delete"] = func(_ http.ResponseWriter, r *http.Request) {
		session.From(r.Context()).Delete(r.FormValue("k"))
	}
	base := serve(t, m, routes)
	there := app(t, open(t, dial(t, s.URL()), session.Config{Timeout: 10 * time.Second}))
	for name, b := range map[string]*browser{"known": newBrowser(t, base), "new": newBrowser(t, base)} {
		if name == "known" {
			b.want("/set?k=first&v=1", 200, "")
		}
		if err := s.Pause(); err != nil { // what is sent now waits for the return
			t.Fatal(err)
		}
		b.want("/set?k=x&v=1", 200, "")
		b.want("/set?k=y&v=1", 200, "")
		b.want("/delete?k=x", 200, "")
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "in step again", func() bool { s := m.Stats(); return s.FallbackSince.IsZero() && s.Waiting == 0 })
		for _, at := range []string{base, there} {
			b.base = at
			if _, keys := b.get("/keys"); !strings.Contains(keys, "y") || strings.Contains(keys, "x") {
				t.Errorf("%s: keys %q, want y and not x", name, keys)
			}
		}
	}
}
