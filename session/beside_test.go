package session_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/rbcervilla/redisstore/v9"
)

// gorillaApp serves routes of app as the READMEs of gorilla/sessions and
// redisstore tell to write them, on a go-redis client with its defaults: what
// the same fault does to a service without this package.
func gorillaApp(tb testing.TB, url string) string {
	tb.Helper()
	client := dial(tb, url)
	store, err := redisstore.NewRedisStore(tb.Context(), client)
	if err != nil {
		tb.Fatal(err)
	}
	save := func(w http.ResponseWriter, r *http.Request, s *sessions.Session) {
		if err := s.Save(r, w); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
	mux := http.NewServeMux()
	for path, h := range map[string]func(w http.ResponseWriter, r *http.Request, s *sessions.Session){
		"/login": func(w http.ResponseWriter, r *http.Request, s *sessions.Session) {
			s.Values["user"] = r.FormValue("u")
			save(w, r, s)
		},
		"/logout": func(w http.ResponseWriter, r *http.Request, s *sessions.Session) {
			s.Options.MaxAge = -1
			save(w, r, s)
		},
		"/set": func(w http.ResponseWriter, r *http.Request, s *sessions.Session) {
			s.Values[r.FormValue("k")] = r.FormValue("v")
			save(w, r, s)
		},
		"/get": func(w http.ResponseWriter, r *http.Request, s *sessions.Session) {
			v, _ := s.Values[r.FormValue("k")].(string)
			_, _ = io.WriteString(w, v)
		},
		"/slow": func(w http.ResponseWriter, r *http.Request, s *sessions.Session) {
			time.Sleep(time.Duration(5+len(r.FormValue("k"))%5) * time.Millisecond)
			if k := r.FormValue("k"); k != "" {
				s.Values[k] = "late"
				save(w, r, s)
			}
		},
		"/me": func(w http.ResponseWriter, _ *http.Request, s *sessions.Session) {
			user, _ := s.Values["user"].(string)
			if user == "" {
				http.Error(w, "nobody", http.StatusUnauthorized)
				return
			}
			_, _ = io.WriteString(w, user)
		},
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			s, _ := store.Get(r, "app") // the README ignores the error too
			h(w, r, s)
		})
	}
	s := httptest.NewServer(mux)
	tb.Cleanup(s.Close)
	return s.URL
}

// besideOutage has four users of gorillaApp read and write while something
// happens to its Redis. The result ends it, and tells what they saw.
func besideOutage(t *testing.T, url string) func() string {
	t.Helper()
	base := gorillaApp(t, url)
	var answers, failed, out, slowest atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var wg sync.WaitGroup
	for i := range 4 {
		u := newBrowser(t, base)
		u.want(fmt.Sprint("/login?u=user", i), 200, "")
		u.http.Timeout = time.Minute
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				for _, path := range []string{fmt.Sprint("/set?k=n&v=", n), "/me"} {
					began := time.Now()
					code, _ := u.get(path)
					answers.Add(1)
					storeMax(&slowest, int64(time.Since(began)))
					switch {
					case code >= 500:
						failed.Add(1)
					case code == http.StatusUnauthorized:
						out.Add(1)
					}
				}
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	return func() string {
		cancel()
		wg.Wait()
		return fmt.Sprintf("gorilla and redisstore beside it: %d answers, %d of 5xx, %d for nobody, slowest %v",
			answers.Load(), failed.Load(), out.Load(), time.Duration(slowest.Load()))
	}
}

// storeMax keeps the larger of what is there and v.
func storeMax(to *atomic.Int64, v int64) {
	for old := to.Load(); v > old && !to.CompareAndSwap(old, v); old = to.Load() {
	}
}

// gorillaParallelWrites is parallelWrites on gorillaApp; it returns how many of
// how many acknowledged writes are lost.
func gorillaParallelWrites(t *testing.T, base string, times int) (lost, of int) {
	t.Helper()
	b := newBrowser(t, base)
	b.want("/set?k=first&v=x", 200, "")
	for round := range times {
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() { b.want(fmt.Sprintf("/set?k=k%d&v=%d", i, round), 200, "") })
		}
		wg.Wait()
		for i := range 64 {
			of++
			if _, v := b.get(fmt.Sprint("/get?k=k", i)); v != fmt.Sprint(round) {
				lost++
			}
		}
	}
	return lost, of
}

// gorillaLogouts is what TestLogoutIsFinal does, on gorillaApp; it returns how
// many sessions are alive after they were logged out.
func gorillaLogouts(t *testing.T, base string, times int) (alive int) {
	t.Helper()
	for range times {
		b := newBrowser(t, base)
		b.want("/login?u=ada", 200, "")
		cookie := b.cookies()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() { raw(t, base+"/slow", cookie) })
			wg.Go(func() { raw(t, base+"/slow?k="+strings.Repeat("k", i), cookie) })
		}
		wg.Go(func() { raw(t, base+"/logout", cookie) })
		wg.Wait()
		if code, _, _ := raw(t, base+"/me", cookie); code == 200 {
			alive++
		}
	}
	return alive
}
