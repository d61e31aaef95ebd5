package session_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestPolicies: what the other fallbacks do while Redis is away.
func TestPolicies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy    session.Fallback
		me, write int
	}{
		{session.FallbackMemory, 200, 200},
		{session.FallbackReadOnly, 200, 500},
		{session.FallbackOff, 503, 500},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			t.Parallel()
			s := rediscachetest.StartServer(t, appendOnly())
			m := open(t, dial(t, s.URL()), session.Config{Fallback: c.policy})
			base := app(t, m)
			b := newBrowser(t, base)
			b.want("/login?u=ada", 200, "")
			out := newBrowser(t, base)
			out.want("/login?u=bob", 200, "")
			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
			b.want("/me", c.me, "*")
			b.want("/set?k=a&v=1", c.write, "*")
			if c.policy != session.FallbackOff {
				out.want("/logout", 200, "")
				out.want("/me", 401, "nobody")
			}
			b.want("/anonymous", 200, "hello")
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "back", func() bool { return m.Stats().FallbackSince.IsZero() })
			b.want("/me", 200, "ada")
			if c.policy != session.FallbackOff {
				out.want("/me", 401, "nobody")
			}
		})
	}
}

// TestStopBringsOver: what was written while Redis was away is not lost by a
// stop, if Redis comes back within its time.
func TestStopBringsOver(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t, appendOnly())
	m := open(t, dial(t, s.URL()), session.Config{})
	b := newBrowser(t, app(t, m))
	b.want("/set?k=a&v=1", 200, "")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	b.want("/login?u=ada", 200, "")
	b.want("/set?k=a&v=2", 200, "")
	stopped := make(chan error, 1)
	go func() { stopped <- m.Stop(context.WithoutCancel(t.Context())) }()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	restarted := time.Now()
	if err := <-stopped; err != nil {
		t.Fatalf("Stop = %v, want nil", err)
	}
	t.Logf("Stop had brought 1 login and 2 writes over %v after Redis' return", time.Since(restarted))
	b.base = app(t, open(t, dial(t, s.URL()), session.Config{}))
	b.want("/me", 200, "ada")
	b.want("/get?k=a", 200, "2")
}

// TestStopTwice: a second Stop beside the first takes nothing away from it.
func TestStopTwice(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t, appendOnly())
	m := open(t, dial(t, s.URL()), session.Config{})
	b := newBrowser(t, app(t, m))
	b.want("/login?u=ada", 200, "")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	b.want("/set?k=a&v=1", 200, "")
	stops := make(chan error, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stop := func() { stops <- m.Stop(ctx) }
	go stop()
	eventually(t, "the first Stop has begun", func() bool { return errors.Is(m.Start(t.Context()), session.ErrClosed) })
	go stop()
	hurried, hurry := context.WithCancel(ctx)
	hurry()
	if err := m.Stop(hurried); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop beside the first = %v, want the error of its context", err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-stops; err != nil {
			t.Errorf("Stop = %v, want nil", err)
		}
	}
	b.base = app(t, open(t, dial(t, s.URL()), session.Config{}))
	b.want("/get?k=a", 200, "1")
}

// TestStopGivesUp: a stop does not wait for Redis longer than its context.
func TestStopGivesUp(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	m := open(t, dial(t, s.URL()), session.Config{})
	b := newBrowser(t, app(t, m))
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	b.want("/login?u=ada", 200, "")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := m.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Stop = %v, want ErrUnavailable and the context's error", err)
	}
	t.Logf("Stop with 100 ms returned after %v", time.Since(began))
}

// TestLogoutAfterStop: an end that Redis will not hear of is not said to be one.
func TestLogoutAfterStop(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	routes := appRoutes()
	routes["/logout"] = func(_ http.ResponseWriter, r *http.Request) {
		if err := session.ClearAuthentication(r.Context()); !errors.Is(err, session.ErrClosed) {
			t.Errorf("ClearAuthentication after Stop = %v, want ErrClosed", err)
		}
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/login?u=ada", 200, "")
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.want("/logout", 200, "")
}

// TestUnknownCookieIsKept: while Redis is away, a cookie that this process has
// not seen is neither a logout nor a login.
func TestUnknownCookieIsKept(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t, appendOnly())
	b := newBrowser(t, app(t, open(t, dial(t, s.URL()), session.Config{})))
	b.want("/login?u=ada", 200, "")
	m := open(t, dial(t, s.URL()), session.Config{})
	routes := appRoutes()
	routes["/members"] = session.RequireAuthenticated(routes["/me"]).ServeHTTP
	b.base = serve(t, m, routes)
	beside := newBrowser(t, gorillaApp(t, s.URL()))
	beside.want("/login?u=ada", 200, "")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	var slowest time.Duration
	for _, path := range []string{"/members", "/me"} {
		began := time.Now()
		code, _, header := b.do(path)
		slowest = max(slowest, time.Since(began))
		if code != http.StatusServiceUnavailable || header.Get("Set-Cookie") != "" {
			t.Errorf("%s: got %d, Set-Cookie %q, want 503 and none", path, code, header.Get("Set-Cookie"))
		}
	}
	if _, _, header := b.do("/members"); header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	besideCode, _ := beside.get("/me")
	b.want("/anonymous", 200, "hello")
	if err := m.Ping(t.Context()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Ping = %v, want ErrUnavailable", err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	restarted := time.Now()
	eventually(t, "back", func() bool { return m.Stats().FallbackSince.IsZero() })
	b.want("/members", 200, "ada")
	t.Logf("503 after %v at most, 200 again %v after the return; gorilla and redisstore beside it: %d", slowest, time.Since(restarted), besideCode)
}

// TestLoginOfAnotherProcessIsWaitedFor: a login made without Redis reaches it
// when the process that made it notices that Redis is back. Another one, which
// notices earlier, must not take that user for a stranger.
func TestLoginOfAnotherProcessIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	var managers [2]*session.Manager
	var proxies [2]*faultproxy.Proxy
	for i := range managers {
		proxies[i] = faultproxy.Start(t, s.Addr())
		managers[i] = open(t, dial(t, proxies[i].URL(s.URL())), session.Config{})
	}
	b := newBrowser(t, app(t, managers[0]))
	stranger := newBrowser(t, b.base)
	stranger.want("/login?u=eve", 200, "")
	for _, p := range proxies {
		p.Blackhole()
	}
	eventually(t, "both are on their own", func() bool {
		return managers[0].Ping(t.Context()) != nil && managers[1].Ping(t.Context()) != nil
	})
	b.want("/login?u=ada", 200, "")
	if err := proxies[1].Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other process has Redis again", func() bool { return managers[1].Ping(t.Context()) == nil })
	b.base = app(t, managers[1])
	if code, _, header := b.do("/me"); code != http.StatusServiceUnavailable || header.Get("Set-Cookie") != "" {
		t.Errorf("got %d, Set-Cookie %q, want 503 and none", code, header.Get("Set-Cookie"))
	}
	if err := proxies[0].Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the login is known to all", func() bool { code, body := b.get("/me"); return code == http.StatusOK && body == "ada" })

	// What is unknown for good is a stranger's again, soon.
	if _, err := managers[0].RevokeUser(t.Context(), "eve"); err != nil {
		t.Fatal(err)
	}
	third := open(t, dial(t, s.URL()), session.Config{})
	stranger.base = app(t, third)
	if code, _ := stranger.get("/me"); code != http.StatusUnauthorized {
		t.Errorf("a revoked session, seen by a process without an outage: got %d, want 401", code)
	}
	stranger.base = b.base
	eventually(t, "the revoked session is unknown", func() bool { code, _ := stranger.get("/me"); return code == http.StatusUnauthorized })
}

// TestLocalCache: reads cost nothing, and other processes' changes and
// revocations arrive within the bound.
func TestLocalCache(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	cfg := session.Config{LocalCache: 5 * time.Second}
	m1, m2 := open(t, dial(t, s.URL()), cfg), open(t, dial(t, s.URL()), cfg)
	here, there := app(t, m1), app(t, m2)
	reader := newBrowser(t, there)
	reader.want("/login?u=bob", 200, "")
	eventually(t, "read from the local cache", func() bool { reader.get("/me"); return m2.Stats().FromMemory > 0 })
	var worst time.Duration
	for round := range 20 {
		b := newBrowser(t, here)
		b.want("/login?u=ada", 200, "")
		b.want("/set?k=a&v=1", 200, "")
		b.want("/get?k=a", 200, "1") // own writes are seen at once
		b.base = there
		b.want("/get?k=a", 200, "1")
		began := time.Now()
		cookie := b.cookies()
		if round%2 == 0 {
			raw(t, here+"/set?k=a&v=2", cookie)
			eventually(t, "the change", func() bool { _, v := b.get("/get?k=a"); return v == "2" })
		} else {
			raw(t, here+"/logout", cookie)
			eventually(t, "the logout", func() bool { code, _ := b.get("/me"); return code == 401 })
		}
		worst = max(worst, time.Since(began))
	}
	t.Logf("the slowest change took %v to arrive", worst)
	if worst > 3*time.Second {
		t.Errorf("a change took %v to arrive, want it by a message, not by the bound of 5 s", worst)
	}
}

// TestExpressOnCluster: IDs of Express are on any node.
func TestExpressOnCluster(t *testing.T) {
	t.Parallel()
	c := rediscachetest.StartCluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { _ = client.Close() })
	m := open(t, client, session.Config{}, session.WithExpressSessions(session.ExpressConfig{}))
	base := app(t, m)
	for range 8 {
		b := newBrowser(t, base)
		b.want("/set?k=a&v=1", 200, "")
		old := b.cookies()
		b.want("/login?u=ada", 200, "")
		b.want("/me", 200, "ada")
		b.want("/get?k=a", 200, "1")
		if code, _, _ := raw(t, base+"/me", old); code != 401 {
			t.Errorf("the ID from before the login got %d, want 401", code)
		}
	}
	if err := m.RevokeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list, err := m.Sessions(t.Context(), "ada"); err != nil || len(list) != 0 || !m.Stats().FallbackSince.IsZero() {
		t.Errorf("Sessions after RevokeAll = %d, %v, want none", len(list), err)
	}
}

// TestCluster: sessions, logins, lists and revocations on a Redis Cluster.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := rediscachetest.StartCluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { _ = client.Close() })
	m := open(t, client, session.Config{MaxPerUser: 6})
	base := app(t, m)
	var all []*browser
	for range 8 {
		b := newBrowser(t, base)
		b.want("/set?k=a&v=1", 200, "")
		b.want("/login?u=ada", 200, "")
		b.want("/get?k=a", 200, "1")
		all = append(all, b)
		began := time.Now()
		eventually(t, "a millisecond", func() bool { return time.Since(began) > 2*time.Millisecond })
	}
	all[0].want("/me", 401, "nobody")
	all[7].want("/logout", 200, "")
	if list, err := m.Sessions(t.Context(), "ada"); err != nil || len(list) != 5 {
		t.Errorf("Sessions = %d, %v, want 5", len(list), err)
	}
	if n, err := m.RevokeUser(t.Context(), "ada"); n != 5 || err != nil {
		t.Errorf("RevokeUser = %d, %v, want 5", n, err)
	}
	all[5].want("/me", 401, "nobody")
	if s := m.Stats(); !s.FallbackSince.IsZero() || s.FromMemory > 0 {
		t.Errorf("served from memory: %+v", s)
	}
}
