package session_test

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestLoginAndRevokeOthers: a change of password does both in one request, and
// its own login is not one of the others.
func TestLoginAndRevokeOthers(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	routes := appRoutes()
	routes["/password"] = func(w http.ResponseWriter, r *http.Request) {
		if err := session.SetAuthenticated(r.Context(), "ada", nil); err != nil {
			t.Error(err)
		}
		if _, err := m.RevokeOthers(r.Context()); err != nil {
			t.Error(err)
		}
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/login?u=ada", 200, "")
	b.want("/password", 200, "")
	b.want("/me", 200, "ada")
}

// TestSessionsCountsRequests: to list a session is no use of it.
func TestSessionsCountsRequests(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	b := newBrowser(t, app(t, m))
	b.want("/login?u=ada", 200, "")
	for range 10 {
		_, _ = m.Sessions(t.Context(), "ada")
	}
	b.want("/set?k=a&v=1", 200, "")
	list, err := m.Sessions(t.Context(), "ada")
	if err != nil || len(list) != 1 || list[0].Requests != 2 {
		t.Errorf("%+v, %v: want 2 requests", list, err)
	}
}

// TestRevokeWhileAway: that there is no such session cannot be known without
// Redis.
func TestRevokeWhileAway(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t, appendOnly())
	m1, m2 := open(t, dial(t, s.URL()), session.Config{}), open(t, dial(t, s.URL()), session.Config{})
	b := newBrowser(t, app(t, m2))
	b.want("/login?u=ada", 200, "")
	list, err := m2.Sessions(t.Context(), "ada")
	if err != nil || len(list) != 1 {
		t.Fatal(err, list)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "away", func() bool { return m1.Ping(t.Context()) != nil })
	if err := m1.Revoke(t.Context(), "ada", list[0].Ref); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Revoke = %v, want ErrUnavailable", err)
	}
}

// TestLoginAfterRevokeUserWhileAway: what is made up for later is not meant for
// who has logged in since.
func TestLoginAfterRevokeUserWhileAway(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t, appendOnly())
	m := open(t, dial(t, s.URL()), session.Config{})
	base := app(t, m)
	b := newBrowser(t, base)
	b.want("/login?u=ada", 200, "")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	b.want("/me", 200, "ada")
	if _, err := m.RevokeUser(t.Context(), "ada"); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("RevokeUser = %v", err)
	}
	b.want("/me", 401, "nobody")
	time.Sleep(10 * time.Millisecond)
	b.want("/login?u=ada", 200, "") // with the new password
	b.want("/me", 200, "ada")
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "back", func() bool { return m.Stats().FallbackSince.IsZero() && m.Stats().Waiting == 0 })
	b.want("/me", 200, "ada")
}

// TestRotationAndRevokeUser: a revocation between the two steps of a new ID is
// not missed.
func TestRotationAndRevokeUser(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	client := dial(t, url)
	var between atomic.Pointer[func()]
	h := &slowFirst{match: func(cmd redis.Cmder) bool { return cmd.Name() == "hdel" }}
	h.after = func() { (*between.Load())() }
	client.AddHook(h)
	cfg := session.Config{RegenerateEvery: time.Second, RegenerateGrace: time.Second, Timeout: 5 * time.Second}
	m := open(t, client, cfg)
	other := open(t, dial(t, url), cfg)
	b := newBrowser(t, app(t, m))
	b.want("/login?u=ada", 200, "")
	time.Sleep(1100 * time.Millisecond)
	f := func() {
		n, err := other.RevokeUser(t.Context(), "ada")
		t.Logf("RevokeUser = %d, %v", n, err)
	}
	between.Store(&f)
	h.armed.Store(true)
	b.want("/me", 200, "ada")
	if !h.done.Load() {
		t.Fatal("no rotation")
	}
	b.want("/me", 401, "nobody")
}

// TestRevokeAllTwice: a process that was cut off does not know of the one
// before.
func TestRevokeAllTwice(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	proxy := faultproxy.Start(t, s.Addr())
	cut := open(t, dial(t, proxy.URL(s.URL())), session.Config{})
	far := open(t, dial(t, s.URL()), session.Config{Timeout: 10 * time.Second})
	b := newBrowser(t, app(t, far))
	proxy.Blackhole()
	eventually(t, "away", func() bool { return cut.Ping(t.Context()) != nil })
	if err := far.RevokeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.want("/login?u=ada", 200, "")
	time.Sleep(10 * time.Millisecond)
	_ = cut.RevokeAll(t.Context()) // after that login
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in step", inStep(cut))
	eventually(t, "refused by the other process", func() bool { code, _ := b.get("/me"); return code == http.StatusUnauthorized })
}

// TestExpressWithoutRedisRevokeAll: memory is all there is.
func TestExpressWithoutRedisRevokeAll(t *testing.T) {
	t.Parallel()
	m := open(t, nil, session.Config{}, session.WithExpressSessions(session.ExpressConfig{}))
	b := newBrowser(t, app(t, m))
	b.want("/login?u=ada", 200, "")
	if err := m.RevokeAll(t.Context()); err != nil {
		t.Error(err)
	}
	b.want("/me", 401, "nobody")
}

// TestExpressRevokeAllWhileAway: over here at once, and everywhere when Redis
// is back.
func TestExpressRevokeAllWhileAway(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t, appendOnly())
	m := open(t, dial(t, s.URL()), session.Config{}, session.WithExpressSessions(session.ExpressConfig{}))
	b := newBrowser(t, app(t, m))
	b.want("/login?u=ada", 200, "")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	b.want("/me", 200, "ada")
	if err := m.RevokeAll(t.Context()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	b.want("/me", 401, "nobody")
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "back", func() bool { return m.Stats().FallbackSince.IsZero() && m.Stats().Waiting == 0 })
	b.want("/me", 401, "nobody")
}

// TestExpressPrefixOfItsOwn: RevokeAll takes all keys of Express' prefix for
// sessions, so ours must not begin with it.
func TestExpressPrefixOfItsOwn(t *testing.T) {
	t.Parallel()
	for prefix, ok := range map[string]bool{"sess:": false, "sess:ours:": false, "session:": true} {
		m, err := session.New(nil, session.Config{KeyPrefix: prefix, Secrets: []string{secret}}, session.WithExpressSessions(session.ExpressConfig{}))
		if ok != (err == nil) || !ok && !errors.Is(err, session.ErrInvalidConfig) {
			t.Errorf("KeyPrefix %q beside Express' sess: got %v", prefix, err)
		}
		if err == nil {
			_ = m.Stop(t.Context())
		}
	}
}
