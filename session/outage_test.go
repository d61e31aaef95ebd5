package session_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestOutage: Redis is killed, or hangs, for 5 s under 200 requests a second,
// with logins, writes and logouts going on. What clients were told is held
// against what is true afterwards, for another process too.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct {
		begin, end func(s *devservices.Redis) error
	}{
		"Kill": {func(s *devservices.Redis) error { return s.Kill() }, func(s *devservices.Redis) error { return s.Restart(context.Background()) }},
		"Hang": {func(s *devservices.Redis) error { return s.Pause() }, func(s *devservices.Redis) error { return s.Resume() }},
	} {
		for kind, client := range map[string]func(tb testing.TB, url string) redis.UniversalClient{"Plain": dial, "Rediscache": cacheClient} {
			t.Run(name+kind, func(t *testing.T) {
				t.Parallel()
				s := rediscachetest.StartServer(t, appendOnly())
				m := open(t, client(t, s.URL()), session.Config{})
				var beside func() string
				if kind == "Plain" {
					beside = besideOutage(t, s.URL())
				}
				testOutage(t, s, m, fault.begin, fault.end)
				if beside != nil {
					t.Log(beside())
				}
			})
		}
	}
}

// cacheClient is the client that hosts lend us.
func cacheClient(tb testing.TB, url string) redis.UniversalClient {
	tb.Helper()
	c, err := rediscache.New(rediscache.Config{URL: url})
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Stop(context.Background()) })
	return c.Redis()
}

// A user is a browser and what it was told.
type user struct {
	*browser
	mu     sync.Mutex
	name   string
	values map[string]string
	ended  []string // cookies of sessions that were logged out
}

func testOutage(t *testing.T, s *devservices.Redis, m *session.Manager, begin, end func(*devservices.Redis) error) {
	t.Helper()
	base := app(t, m)
	var users []*user
	add := func(i int) *user {
		u := &user{browser: newBrowser(t, base), name: fmt.Sprintf("user%d", i), values: map[string]string{}}
		u.want("/login?u="+u.name, 200, "")
		return u
	}
	for i := range 40 {
		users = append(users, add(i))
	}
	var answers, errors5xx, loggedOut atomic.Int64
	var slowest atomic.Int64
	var failures sync.Map
	request := func(u *user, path string) (int, string) {
		began := time.Now()
		code, body := u.get(path)
		answers.Add(1)
		if code >= 500 || code == 0 {
			errors5xx.Add(1)
			failures.LoadOrStore(fmt.Sprintf("%d %s", code, body), path)
		}
		storeMax(&slowest, int64(time.Since(began)))
		return code, body
	}
	stop := make(chan struct{})
	var wg, running sync.WaitGroup
	var mu sync.Mutex
	var newcomers []*user
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			running.Go(func() {
				u := users[n%len(users)]
				switch {
				case n%50 == 7: // somebody new
					v := add(1000 + n)
					answers.Add(1)
					mu.Lock()
					newcomers = append(newcomers, v)
					mu.Unlock()
					return
				case n%len(users) >= 30 && n%4 == 1: // somebody leaves, and comes back
					u.mu.Lock()
					defer u.mu.Unlock()
					old := u.cookies()
					if code, _ := request(u, "/logout"); code == 200 {
						u.ended = append(u.ended, old)
						request(u, "/login?u="+u.name)
						u.values = map[string]string{}
					}
					return
				}
				u.mu.Lock()
				defer u.mu.Unlock()
				if n%3 == 0 {
					k, v := fmt.Sprintf("k%d", n%20), fmt.Sprint(n)
					if code, _ := request(u, "/set?k="+k+"&v="+v); code == 200 {
						u.values[k] = v
					}
					return
				}
				if code, body := request(u, "/me"); code != 200 || body != u.name {
					loggedOut.Add(1)
					failures.LoadOrStore(fmt.Sprintf("%d %s", code, body), "/me of "+u.name)
				}
			})
		}
	})
	pause := func(d time.Duration) { <-time.After(d) }
	pause(500 * time.Millisecond)
	if err := begin(s); err != nil {
		t.Error(err)
	}
	pause(5 * time.Second)
	if m.Stats().FallbackSince.IsZero() {
		t.Error("FallbackSince is zero during the outage")
	}
	if err := end(s); err != nil {
		t.Error(err)
	}
	ended := time.Now()
	var settled time.Duration // until Redis knew all that was done without it
	for time.Since(ended) < time.Second || settled == 0 && time.Since(ended) < 20*time.Second {
		if settled == 0 && m.Stats().FallbackSince.IsZero() {
			settled = time.Since(ended)
		}
		pause(2 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	running.Wait()
	eventually(t, "back in Redis", func() bool { return m.Stats().FallbackSince.IsZero() && m.Stats().Waiting == 0 })

	failures.Range(func(k, v any) bool { t.Logf("%v: %v", v, k); return true })
	there := app(t, open(t, dial(t, s.URL()), session.Config{}))
	lost, out, alive, ends := 0, 0, 0, 0
	for _, u := range append(users, newcomers...) {
		for _, at := range []string{base, there} {
			u.base = at
			if code, body := u.get("/me"); code != 200 || body != u.name {
				out++
				continue
			}
			for k, v := range u.values {
				if _, got := u.get("/get?k=" + k); got != v {
					lost++
				}
			}
			for _, cookie := range u.ended {
				ends++
				if code, _, _ := raw(t, at+"/me", cookie); code != http.StatusUnauthorized {
					alive++
				}
			}
		}
	}
	t.Logf("%d answers, %d of 5xx, slowest %v, in step with Redis %v after its return, %d logins and %d logouts checked, stats %+v",
		answers.Load(), errors5xx.Load(), time.Duration(slowest.Load()), settled, len(newcomers), ends/2, m.Stats())
	if n := errors5xx.Load(); n > 0 {
		t.Errorf("%d answers of 5xx, want 0", n)
	}
	if n := loggedOut.Load(); n > 0 || out > 0 {
		t.Errorf("%d answers for nobody, %d users logged out afterwards, want 0", n, out)
	}
	if lost > 0 {
		t.Errorf("%d writes lost, want 0", lost)
	}
	if alive > 0 || ends == 0 {
		t.Errorf("%d of %d logged-out sessions alive, want 0 of some", alive, ends)
	}
}
