package session_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

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

// TestLostRepliesOfAMove: a login of an Express session on a Cluster takes two
// steps, and one that moves over from redisstore several. Any of their replies
// may be the one that is lost.
func TestLostRepliesOfAMove(t *testing.T) {
	t.Parallel()
	// lose cuts the connection at the nth reply to what a step does.
	lose := func(proxy *faultproxy.Proxy, left *atomic.Int64) {
		proxy.OnMessage(func(msg *faultproxy.Message) faultproxy.Verdict {
			step := msg.Replies("evalsha") || msg.Replies("eval") || msg.Replies("del") || msg.Replies("unlink")
			if step && msg.Data[0] != '-' && left.Add(-1) == 0 {
				return faultproxy.Cut
			}
			return faultproxy.Pass
		})
	}
	t.Run("ExpressOnCluster", func(t *testing.T) {
		t.Parallel()
		c := rediscachetest.StartCluster(t)
		var left atomic.Int64
		proxies := map[string]string{}
		for _, addr := range c.Addrs() {
			proxy := faultproxy.Start(t, addr, faultproxy.Redis())
			proxies[addr] = proxy.Addr()
			lose(proxy, &left)
		}
		client := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: c.Addrs(),
			Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, proxies[addr])
			},
		})
		t.Cleanup(func() { _ = client.Close() })
		m := open(t, client, session.Config{Timeout: 10 * time.Second}, session.WithExpressSessions(session.ExpressConfig{}))
		routes := appRoutes()
		routes["/regenerate"] = func(_ http.ResponseWriter, r *http.Request) {
			if err := session.From(r.Context()).Regenerate(); err != nil {
				t.Error(err)
			}
		}
		base := serve(t, m, routes)
		steps := int64(0)
		for nth := int64(1); nth <= 6; nth++ {
			b := newBrowser(t, base)
			b.want("/set?k=a&v=1", 200, "")
			old := b.cookies()
			for _, path := range []string{"/login?u=ada", "/regenerate"} {
				left.Store(nth)
				b.want(path, 200, "")
				if left.Swap(0) <= 0 {
					steps = nth
				}
				b.want("/me", 200, "ada")
				b.want("/get?k=a", 200, "1")
				if code, _, _ := raw(t, base+"/me", old); code != 401 {
					t.Errorf("reply %d: the ID from before %s got %d, want 401", nth, path, code)
				}
				old = b.cookies()
			}
		}
		t.Logf("the replies of %d steps were lost, one after the other", steps)
		if steps < 3 {
			t.Errorf("%d replies were lost, want those of at least three steps", steps)
		}
	})
	t.Run("Redisstore", func(t *testing.T) {
		t.Parallel()
		s := rediscachetest.StartServer(t)
		direct := dial(t, s.URL())
		proxy := faultproxy.Start(t, s.Addr(), faultproxy.Redis())
		var left atomic.Int64
		lose(proxy, &left)
		m := open(t, dial(t, proxy.URL(s.URL())), session.Config{Timeout: 10 * time.Second},
			session.WithRedisstoreRecords(session.RedisstoreConfig{Name: "app", UserKey: "user"}))
		base := app(t, m)
		steps := int64(0)
		for nth := int64(1); nth <= 6; nth++ {
			cookie, key := redisstoreSession(t, direct)
			left.Store(nth)
			code, who, header := raw(t, base+"/me", cookie)
			if left.Swap(0) <= 0 {
				steps = nth
			}
			if code != 200 || who != "ada" {
				t.Errorf("reply %d: got %d %q, want ada", nth, code, who)
			}
			own, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
			if code, who, _ := raw(t, base+"/me", own); code != 200 || who != "ada" {
				t.Errorf("reply %d: with the new cookie got %d %q, want ada", nth, code, who)
			}
			if n := direct.Exists(t.Context(), key).Val(); n != 0 {
				t.Errorf("reply %d: the old record is still there", nth)
			}
		}
		t.Logf("the replies of %d steps were lost, one after the other", steps)
		if steps < 3 {
			t.Errorf("%d replies were lost, want those of at least three steps", steps)
		}
	})
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
