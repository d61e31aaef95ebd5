package session_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// events collects what an observer is told.
type events struct {
	mu  sync.Mutex
	all []session.Event
}

func (e *events) add(ev session.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

func (e *events) count(k session.Kind) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.all {
		if ev.Kind == k {
			n++
		}
	}
	return n
}

// TestRegeneration: parallel requests of one session agree on its next ID, the
// ID before works for the grace, and is reported afterwards.
func TestRegeneration(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]func(t *testing.T) redis.UniversalClient{
		"Redis":  func(t *testing.T) redis.UniversalClient { t.Helper(); return dial(t, rediscachetest.Start(t)) },
		"Memory": func(*testing.T) redis.UniversalClient { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen events
			m := open(t, client(t), session.Config{RegenerateEvery: 2 * time.Second, RegenerateGrace: 2 * time.Second}, session.WithObserver(seen.add))
			base := app(t, m)
			b := newBrowser(t, base)
			b.want("/login?u=ada", 200, "")
			first := b.cookies()
			began := time.Now()
			eventually(t, "due", func() bool { return time.Since(began) > 2100*time.Millisecond })
			next := map[string]int{}
			var mu sync.Mutex
			var wg sync.WaitGroup
			for i := range 32 {
				wg.Go(func() {
					code, _, header := raw(t, fmt.Sprintf("%s/set?k=p%d&v=1", base, i), first)
					mu.Lock()
					defer mu.Unlock()
					if c := header.Get("Set-Cookie"); c != "" {
						next[strings.SplitN(c, ";", 2)[0]]++
					}
					if code != 200 {
						t.Errorf("parallel request: got %d, want 200", code)
					}
				})
			}
			wg.Wait()
			if len(next) != 1 {
				t.Fatalf("parallel requests got %d new IDs, want 1", len(next))
			}
			if n := m.Stats().Regenerated; n != 1 {
				t.Errorf("regenerated %d times, want 1", n)
			}
			var successor string
			for successor = range next {
			}
			for i := range 32 { // nothing lost, on either ID
				for _, c := range []string{first, successor} {
					if _, v, _ := raw(t, fmt.Sprintf("%s/get?k=p%d", base, i), c); v != "1" {
						t.Errorf("p%d = %q, want 1", i, v)
					}
				}
			}
			// A lost Set-Cookie is sent again.
			if _, _, h := raw(t, base+"/me", first); !strings.HasPrefix(h.Get("Set-Cookie"), successor) {
				t.Errorf("the old ID in its grace got Set-Cookie %q, want its successor", h.Get("Set-Cookie"))
			}
			eventually(t, "grace over", func() bool {
				code, _, _ := raw(t, base+"/me", first)
				return code == http.StatusUnauthorized
			})
			if code, who, _ := raw(t, base+"/me", successor); code != 200 || who != "ada" {
				t.Errorf("the successor got %d %q, want ada", code, who)
			}
			if m.Stats().Rejected[session.ReasonRetired] == 0 || seen.count(session.Regenerated) == 0 {
				t.Error("the retired ID was not reported")
			}
			if list, err := m.Sessions(t.Context(), "ada"); err != nil || len(list) != 1 {
				t.Errorf("Sessions = %d, %v, want 1", len(list), err)
			}
			if n, err := m.RevokeUser(t.Context(), "ada"); n != 1 || err != nil {
				t.Errorf("RevokeUser = %d, %v, want 1", n, err)
			}
			if code, _, _ := raw(t, base+"/me", successor); code != 401 {
				t.Errorf("after RevokeUser got %d, want 401", code)
			}
		})
	}
}

// TestRegenerateKillsOld: what the host asks for has no grace.
func TestRegenerateKillsOld(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	routes := appRoutes()
	routes["/regenerate"] = func(w http.ResponseWriter, r *http.Request) {
		if err := session.From(r.Context()).Regenerate(); err != nil {
			t.Error(err)
		}
	}
	base := serve(t, m, routes)
	b := newBrowser(t, base)
	b.want("/login?u=ada", 200, "")
	old := b.cookies()
	b.want("/regenerate", 200, "")
	if b.cookies() == old {
		t.Error("the ID did not change")
	}
	b.want("/me", 200, "ada")
	if code, _, _ := raw(t, base+"/me", old); code != 401 {
		t.Errorf("the old ID got %d, want 401", code)
	}
}

// TestLifetime: however much it is used, and whatever its ID.
func TestLifetime(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{IdleTimeout: time.Second, Lifetime: 3 * time.Second, RegenerateEvery: time.Second, RegenerateGrace: time.Second, TouchEvery: 100 * time.Millisecond})
	b := newBrowser(t, app(t, m))
	b.want("/login?u=ada", 200, "")
	began := time.Now()
	for {
		code, _ := b.get("/me")
		if code != 200 {
			break
		}
		if time.Since(began) > 15*time.Second {
			t.Fatal("the session outlived its lifetime")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if lived := time.Since(began); lived < 2500*time.Millisecond {
		t.Errorf("lived %v, want about 3 s", lived)
	}
	if m.Stats().Regenerated == 0 {
		t.Error("no new ID in that time")
	}
}

// TestMaxPerUser: a further login ends the oldest session.
func TestMaxPerUser(t *testing.T) {
	t.Parallel()
	eachBackend(t, session.Config{MaxPerUser: 2}, func(t *testing.T, m *session.Manager) {
		t.Helper()
		base := app(t, m)
		var all []*browser
		for range 4 {
			b := newBrowser(t, base)
			b.want("/login?u=ada", 200, "")
			all = append(all, b)
			began := time.Now()
			eventually(t, "a millisecond", func() bool { return time.Since(began) > 2*time.Millisecond })
		}
		all[0].want("/me", 401, "nobody")
		all[1].want("/me", 401, "nobody")
		all[2].want("/me", 200, "ada")
		all[3].want("/me", 200, "ada")
		if list, err := m.Sessions(t.Context(), "ada"); err != nil || len(list) != 2 {
			t.Errorf("Sessions = %d, %v, want 2", len(list), err)
		}
	})
}

// TestMaxPerUserAtOnce: of two logins in one millisecond the later one stays.
func TestMaxPerUserAtOnce(t *testing.T) {
	t.Parallel()
	eachBackend(t, session.Config{MaxPerUser: 1}, func(t *testing.T, m *session.Manager) {
		t.Helper()
		h := session.Middleware(m)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			if user := r.FormValue("u"); user != "" && s.SetAuthenticated(user, nil) != nil {
				t.Error("no login")
			}
			_, _ = io.WriteString(w, s.UserID())
		}))
		visit := func(path string, before *httptest.ResponseRecorder) *httptest.ResponseRecorder {
			r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
			if before != nil {
				r.AddCookie(before.Result().Cookies()[0])
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		for i := range 100 {
			user := fmt.Sprint("u", i)
			first, second := visit("/?u="+user, nil), visit("/?u="+user, nil)
			if a, b := visit("/", first).Body.String(), visit("/", second).Body.String(); a != "" || b != user {
				t.Fatalf("the first login is of %q, the second of %q, want nobody and %q", a, b, user)
			}
		}
	})
}

// TestRevokeRacesLogins: no login that began before RevokeUser returns outlives
// it unlisted, so that a second call gets all.
func TestRevokeRacesLogins(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	base := app(t, m)
	for round := range 20 {
		name := fmt.Sprint("u", round)
		var all []*browser
		var wg sync.WaitGroup
		for range 8 {
			b := newBrowser(t, base)
			all = append(all, b)
			wg.Go(func() { b.get("/login?u=" + name) })
		}
		wg.Go(func() { _, _ = m.RevokeUser(t.Context(), name) })
		wg.Wait()
		list, err := m.Sessions(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		alive := 0
		for _, b := range all {
			if code, _ := b.get("/me"); code == 200 {
				alive++
			}
		}
		if alive != len(list) {
			t.Errorf("%d sessions alive, %d listed, want the same", alive, len(list))
		}
		if _, err := m.RevokeUser(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		for _, b := range all {
			if code, _ := b.get("/me"); code == 200 {
				t.Error("a session outlived RevokeUser")
			}
		}
	}
}

// TestBinding: a change of network and browser is reported, or refused.
func TestBinding(t *testing.T) {
	t.Parallel()
	var seen events
	m := fresh(t, session.Config{TrustedProxies: []string{"127.0.0.1"}}, session.WithObserver(seen.add),
		session.WithBinding(func(before, now session.Client) bool {
			return before.Network == now.Network || before.Family == now.Family
		}))
	base := app(t, m)
	b := newBrowser(t, base)
	b.want("/login?u=ada", 200, "")
	from := func(ip, agent string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/me", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", b.cookies())
		req.Header.Set("X-Forwarded-For", ip)
		req.Header.Set("User-Agent", agent)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	if code := from("203.0.113.7", "Go-http-client/1.1"); code != 200 {
		t.Errorf("another network, the same browser: got %d, want 200", code)
	}
	if code := from("203.0.113.7", firefox); code != 401 {
		t.Errorf("another network and browser: got %d, want 401", code)
	}
	b.want("/me", 200, "ada")
	if m.Stats().Rejected[session.ReasonBinding] != 1 {
		t.Error("the refusal was not counted")
	}
}
