package session_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/lifecycle/lifecycletest"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

func TestLifecycle(t *testing.T) {
	t.Parallel()
	t.Run("Redis", func(t *testing.T) {
		t.Parallel()
		url := rediscachetest.Start(t)
		lifecycletest.Run(t, func(t *testing.T) lifecycle.Component {
			t.Helper()
			m, err := session.New(dial(t, url), session.Config{Secrets: []string{secret}})
			if err != nil {
				t.Fatal(err)
			}
			return m
		})
	})
	t.Run("Memory", func(t *testing.T) {
		t.Parallel()
		lifecycletest.Run(t, func(t *testing.T) lifecycle.Component {
			t.Helper()
			m, err := session.New(nil, session.Config{})
			if err != nil {
				t.Fatal(err)
			}
			return m
		})
	})
}

// eachBackend runs a test on Redis and in memory.
func eachBackend(t *testing.T, cfg session.Config, f func(t *testing.T, m *session.Manager)) {
	t.Helper()
	t.Run("Redis", func(t *testing.T) {
		t.Parallel()
		f(t, fresh(t, cfg))
	})
	t.Run("Memory", func(t *testing.T) {
		t.Parallel()
		f(t, open(t, nil, cfg))
	})
}

func TestLoginAndLogout(t *testing.T) {
	t.Parallel()
	eachBackend(t, session.Config{}, func(t *testing.T, m *session.Manager) {
		t.Helper()
		b := newBrowser(t, app(t, m))
		b.want("/me", http.StatusUnauthorized, "nobody")
		b.want("/set?k=cart&v=apple", 200, "")
		b.want("/get?k=cart", 200, "apple")
		b.want("/login?u=ada", 200, "")
		b.want("/me", 200, "ada")
		b.want("/get?k=cart", 200, "apple") // carried over
		b.want("/get?k=role", 200, "nurse")
		b.want("/login?u=bob", 200, "")
		b.want("/get?k=cart", 200, "") // not for another user
		b.want("/logout", 200, "")
		b.want("/me", http.StatusUnauthorized, "nobody")
		b.want("/get?k=role", 200, "")
		if s := m.Stats(); s.Logins != 2 || s.Destroyed != 1 || s.Created != 1 {
			t.Errorf("got %d logins, %d destroyed, %d created, want 2, 1, 1", s.Logins, s.Destroyed, s.Created)
		}
	})
}

func TestUsersSessions(t *testing.T) {
	t.Parallel()
	eachBackend(t, session.Config{}, func(t *testing.T, m *session.Manager) {
		t.Helper()
		base := app(t, m)
		phone, laptop, other := newBrowser(t, base), newBrowser(t, base), newBrowser(t, base)
		phone.want("/login?u=ada", 200, "")
		laptop.want("/login?u=ada", 200, "")
		other.want("/login?u=bob", 200, "")
		list, err := m.Sessions(t.Context(), "ada")
		if err != nil || len(list) != 2 {
			t.Fatalf("Sessions = %d, %v, want 2", len(list), err)
		}
		if list[0].IP != "127.0.0.1" || list[0].UserAgent == "" || list[0].Ref == "" || list[0].Ref == list[1].Ref {
			t.Errorf("got %+v, want an address, a user agent and a Ref of its own", list[0])
		}
		if err := m.Revoke(t.Context(), "bob", list[0].Ref); !errors.Is(err, session.ErrNoSession) {
			t.Errorf("Revoke with another's ref = %v, want ErrNoSession", err)
		}
		if err := m.Revoke(t.Context(), "ada", list[0].Ref); err != nil {
			t.Fatal(err)
		}
		a, _ := phone.get("/me")
		b, _ := laptop.get("/me")
		if a+b != 200+401 {
			t.Errorf("got %d and %d after one was revoked, want one 200 and one 401", a, b)
		}
		if n, err := m.RevokeUser(t.Context(), "ada"); n != 1 || err != nil {
			t.Errorf("RevokeUser = %d, %v, want 1", n, err)
		}
		phone.want("/me", 401, "nobody")
		laptop.want("/me", 401, "nobody")
		other.want("/me", 200, "bob")
		if err := m.RevokeAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		other.want("/me", 401, "nobody")
		other.want("/login?u=bob", 200, "")
		other.want("/me", 200, "bob")
	})
}

// TestRevokeOthers: all devices but this one.
func TestRevokeOthers(t *testing.T) {
	t.Parallel()
	eachBackend(t, session.Config{}, func(t *testing.T, m *session.Manager) {
		t.Helper()
		routes := appRoutes()
		routes["/others"] = func(_ http.ResponseWriter, r *http.Request) {
			if n, err := m.RevokeOthers(r.Context()); n != 2 || err != nil {
				t.Errorf("RevokeOthers = %d, %v, want 2", n, err)
			}
			list, err := m.Sessions(r.Context(), "ada")
			if err != nil || len(list) != 1 || !list[0].Current {
				t.Errorf("Sessions = %+v, %v, want the current one", list, err)
			}
		}
		base := serve(t, m, routes)
		this, other, third := newBrowser(t, base), newBrowser(t, base), newBrowser(t, base)
		for _, b := range []*browser{this, other, third} {
			b.want("/login?u=ada", 200, "")
		}
		this.want("/others", 200, "")
		this.want("/me", 200, "ada")
		other.want("/me", 401, "nobody")
		third.want("/me", 401, "nobody")
	})
}

func TestKillAndReturn(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t, appendOnly())
	m := open(t, dial(t, s.URL()), session.Config{})
	base := app(t, m)
	b, gone, newcomer := newBrowser(t, base), newBrowser(t, base), newBrowser(t, base)
	b.want("/login?u=ada", 200, "")
	gone.want("/login?u=eve", 200, "")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	b.want("/me", 200, "ada")
	b.want("/set?k=a&v=1", 200, "")
	b.want("/get?k=a", 200, "1")
	gone.want("/logout", 200, "")
	newcomer.want("/login?u=bob", 200, "")
	newcomer.want("/me", 200, "bob")
	if m.Stats().FallbackSince.IsZero() {
		t.Error("FallbackSince is zero during the outage")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "back in Redis", func() bool { return m.Stats().FallbackSince.IsZero() })
	// Another process sees what was done.
	m2 := open(t, dial(t, s.URL()), session.Config{})
	base2 := app(t, m2)
	for who, br := range map[string]*browser{"ada": b, "bob": newcomer} {
		br.base = base2
		br.want("/me", 200, who)
	}
	b.want("/get?k=a", 200, "1")
	gone.base = base2
	gone.want("/me", 401, "nobody")
	if list, err := m2.Sessions(t.Context(), "bob"); err != nil || len(list) != 1 {
		t.Errorf("Sessions of the one who logged in without Redis = %d, %v, want 1", len(list), err)
	}
}

func TestStartWithoutRedis(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	m := open(t, dial(t, s.URL()), session.Config{})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("Start took %v", took)
	}
	b := newBrowser(t, app(t, m))
	b.want("/login?u=ada", 200, "")
	b.want("/me", 200, "ada")
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in Redis", func() bool { return m.Stats().FallbackSince.IsZero() })
	b.want("/me", 200, "ada")
	m2 := open(t, dial(t, s.URL()), session.Config{})
	b.base = app(t, m2)
	b.want("/me", 200, "ada")
}
