package session_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// rounds is how often a race is run: SESSION_LONG=1 takes its time.
func rounds(short int) int {
	if os.Getenv("SESSION_LONG") != "" {
		return short * 10
	}
	return short
}

// TestParallelWritesAllSurvive: 64 requests on one session each add a key, a
// hundred times.
func TestParallelWritesAllSurvive(t *testing.T) {
	t.Parallel()
	t.Run("OneProcess", func(t *testing.T) {
		t.Parallel()
		url := rediscachetest.Start(t)
		b := newBrowser(t, app(t, open(t, dial(t, url), session.Config{MaxBytes: 1 << 20})))
		parallelWrites(t, b, rounds(100), b.base)
		lost, of := gorillaParallelWrites(t, gorillaApp(t, url), 3)
		t.Logf("gorilla and redisstore beside it lost %d of %d acknowledged writes", lost, of)
	})
	t.Run("TwoProcesses", func(t *testing.T) {
		t.Parallel()
		url := rediscachetest.Start(t)
		b := newBrowser(t, another(t, url))
		parallelWrites(t, b, rounds(100), b.base, another(t, url))
	})
	t.Run("Memory", func(t *testing.T) {
		t.Parallel()
		b := newBrowser(t, app(t, open(t, nil, session.Config{MaxBytes: 1 << 20})))
		parallelWrites(t, b, rounds(20), b.base)
	})
}

func parallelWrites(t *testing.T, b *browser, times int, bases ...string) {
	t.Helper()
	// The cookie is one for all ports of a host.
	b.want("/set?k=first&v=x", 200, "")
	lost := 0
	for round := range times {
		b.want("/set?k=round&v="+strconv.Itoa(round), 200, "")
		var wg sync.WaitGroup
		for i := range 64 {
			to := *b
			to.base = bases[i%len(bases)]
			wg.Go(func() { to.want(fmt.Sprintf("/set?k=k%d&v=%d", i, round), 200, "") })
		}
		wg.Wait()
		_, keys := b.get("/keys")
		if n := strings.Count(keys, "k"); n != 64 {
			lost += 64 - n
		}
		for _, i := range []int{0, 31, 63} {
			b.want(fmt.Sprintf("/get?k=k%d", i), 200, strconv.Itoa(round))
		}
	}
	t.Logf("%d writes in rounds of 64 at once over %d processes, %d lost", times*64, len(bases), lost)
	if lost > 0 {
		t.Errorf("lost %d writes, want 0", lost)
	}
}

// TestUpdatesAllCount: a counter in the session misses nothing.
func TestUpdatesAllCount(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	a := newBrowser(t, another(t, url))
	b := *a
	b.base = another(t, url)
	a.want("/set?k=first&v=x", 200, "")
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { a.want("/count", 200, "") })
		wg.Go(func() { b.want("/count", 200, "") })
	}
	wg.Wait()
	a.want("/counted", 200, "200")
}

// TestLogoutIsFinal: requests that read and write while another logs out bring
// nothing back.
func TestLogoutIsFinal(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	m := open(t, dial(t, url), session.Config{})
	here, there := app(t, m), another(t, url)
	revived := 0
	for round := range rounds(100) {
		b := newBrowser(t, here)
		b.want("/login?u=ada", 200, "")
		cookie := b.cookies()
		var wg sync.WaitGroup
		for i := range 4 {
			base := []string{here, there}[i%2]
			wg.Go(func() { raw(t, base+"/slow", cookie) })
			wg.Go(func() { raw(t, fmt.Sprintf("%s/slow?k=%d-%d", base, round, i), cookie) })
		}
		wg.Go(func() { raw(t, []string{here, there}[round%2]+"/logout", cookie) })
		wg.Wait()
		for _, base := range []string{here, there} {
			if code, _, _ := raw(t, base+"/me", cookie); code != http.StatusUnauthorized {
				revived++
			}
		}
	}
	t.Logf("%d logouts among 8 requests each, %d revived; gorilla and redisstore beside it: %d of 20",
		rounds(100), revived, gorillaLogouts(t, gorillaApp(t, url), 20))
	if revived > 0 {
		t.Errorf("%d logged-out sessions were alive, want 0", revived)
	}
}

// TestLoginIsNotUndone: late answers of requests that began before a login do
// not log the browser out again.
func TestLoginIsNotUndone(t *testing.T) {
	t.Parallel()
	base := app(t, fresh(t, session.Config{TouchEvery: 1}))
	undone := 0
	for round := range rounds(100) {
		b := newBrowser(t, base)
		b.want("/set?k=a&v=1", 200, "")
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() { b.get("/slow") })
			wg.Go(func() { b.get(fmt.Sprintf("/slow?k=%d-%d", round, i)) })
		}
		b.want("/login?u=ada", 200, "")
		wg.Wait()
		if code, _ := b.get("/me"); code != 200 {
			undone++
		}
	}
	if undone > 0 {
		t.Errorf("%d logins were undone, want 0", undone)
	}
}

// cookies is what the browser would send.
func (b *browser) cookies() string {
	b.tb.Helper()
	u, err := url.Parse(b.base)
	if err != nil {
		b.tb.Fatal(err)
	}
	var out []string
	for _, c := range b.http.Jar.Cookies(u) {
		out = append(out, c.Name+"="+c.Value)
	}
	return strings.Join(out, "; ")
}

// TestUpdatesCountInAnOutage: counters of two processes that could not reach
// Redis for a while, and did not hear whether their last save arrived, add up.
func TestUpdatesCountInAnOutage(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t, appendOnly())
	m1, m2 := open(t, dial(t, s.URL()), session.Config{}), open(t, dial(t, s.URL()), session.Config{})
	a := newBrowser(t, app(t, m1))
	b := *a
	b.base = app(t, m2)
	a.want("/set?k=first&v=x", 200, "")
	b.want("/count", 200, "")
	a.want("/count", 200, "")
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		a.want("/count", 200, "")
		b.want("/count", 200, "")
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*session.Manager{m1, m2} {
		eventually(t, "back", func() bool { return m.Stats().FallbackSince.IsZero() && m.Stats().Waiting == 0 })
	}
	a.want("/counted", 200, "22")
	b.want("/counted", 200, "22")
}
