package session_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/pedro-go/pedro/internal/leakcheck"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

const secret = "8f2b64c0a9d35e17f4c86b20d9e1573a"

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	logging.Disable() // of go-redis: outages are what is tested here
	if role := os.Getenv(childRole); role != "" {
		os.Exit(runChild(role))
	}
	leakcheck.Main(m)
}

// dial returns a plain go-redis client with the library's own defaults.
func dial(tb testing.TB, url string) redis.UniversalClient {
	tb.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		tb.Fatal(err)
	}
	c := redis.NewClient(opts)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// open returns a started manager that is stopped with the test.
func open(tb testing.TB, client redis.UniversalClient, cfg session.Config, opts ...session.Option) *session.Manager {
	tb.Helper()
	if cfg.Secrets == nil {
		cfg.Secrets = []string{secret}
	}
	m, err := session.New(client, cfg, append([]session.Option{session.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = m.Stop(ctx)
	})
	if err := m.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return m
}

// fresh returns a manager on an empty Redis of its own.
func fresh(tb testing.TB, cfg session.Config, opts ...session.Option) *session.Manager {
	tb.Helper()
	return open(tb, dial(tb, rediscachetest.Start(tb)), cfg, opts...)
}

// serve runs handlers behind the middleware.
func serve(tb testing.TB, m *session.Manager, routes map[string]http.HandlerFunc) string {
	tb.Helper()
	mux := http.NewServeMux()
	for pattern, h := range routes {
		mux.HandleFunc(pattern, h)
	}
	s := httptest.NewServer(session.Middleware(m)(mux))
	tb.Cleanup(s.Close)
	return s.URL
}

// app serves appRoutes.
func app(tb testing.TB, m *session.Manager) string {
	tb.Helper()
	return serve(tb, m, appRoutes())
}

// appRoutes is what most tests serve.
func appRoutes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"/anonymous": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
		"/set": func(w http.ResponseWriter, r *http.Request) {
			if err := session.Set(session.From(r.Context()), r.FormValue("k"), r.FormValue("v")); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		},
		"/get": func(w http.ResponseWriter, r *http.Request) {
			v, _ := session.Get[string](session.From(r.Context()), r.FormValue("k"))
			_, _ = io.WriteString(w, v)
		},
		"/keys": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, strings.Join(session.From(r.Context()).Keys(), ","))
		},
		"/login": func(w http.ResponseWriter, r *http.Request) {
			if err := session.SetAuthenticated(r.Context(), r.FormValue("u"), map[string]any{"role": "nurse"}); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		},
		"/logout": func(w http.ResponseWriter, r *http.Request) {
			if err := session.ClearAuthentication(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		},
		"/me": func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			if !s.IsAuthenticated() {
				if errors.Is(s.Err(), session.ErrUnavailable) {
					http.Error(w, s.Err().Error(), http.StatusServiceUnavailable)
					return
				}
				http.Error(w, "nobody", http.StatusUnauthorized)
				return
			}
			_, _ = io.WriteString(w, s.UserID())
		},
		"/slow": func(w http.ResponseWriter, r *http.Request) { // reads or writes, and takes its time
			s := session.From(r.Context())
			_ = s.UserID()
			time.Sleep(time.Duration(5+len(r.FormValue("k"))%5) * time.Millisecond)
			if k := r.FormValue("k"); k != "" {
				_ = session.Set(s, k, "late")
			}
			_, _ = io.WriteString(w, "slow")
		},
		"/count": func(w http.ResponseWriter, r *http.Request) {
			if err := session.Update(session.From(r.Context()), "n", func(n int) int { return n + 1 }); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		},
		"/counted": func(w http.ResponseWriter, r *http.Request) {
			n, _ := session.Get[int](session.From(r.Context()), "n")
			_, _ = io.WriteString(w, strconv.Itoa(n))
		},
	}
}

// A browser has a cookie jar.
type browser struct {
	tb   testing.TB
	base string
	http *http.Client
}

func newBrowser(tb testing.TB, base string) *browser {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	tb.Cleanup(transport.CloseIdleConnections)
	return &browser{tb: tb, base: base, http: &http.Client{Jar: jar, Transport: transport, Timeout: 20 * time.Second}}
}

// get returns the status and the body.
func (b *browser) get(path string) (int, string) {
	b.tb.Helper()
	code, body, _ := b.do(path)
	return code, body
}

func (b *browser) do(path string) (int, string, http.Header) {
	b.tb.Helper()
	res, err := b.http.Get(b.base + path)
	if err != nil {
		b.tb.Errorf("GET %s: %v", path, err)
		return 0, "", nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.tb.Errorf("GET %s: %v", path, err)
	}
	return res.StatusCode, strings.TrimSpace(string(body)), res.Header
}

// want fails the test unless a page has this status and body.
func (b *browser) want(path string, code int, body string) {
	b.tb.Helper()
	gotCode, gotBody := b.get(path)
	if gotCode != code || body != "*" && gotBody != body {
		b.tb.Errorf("GET %s = %d %q, want %d %q", path, gotCode, gotBody, code, body)
	}
}

// eventually polls until ok, or fails the test with what after a generous time.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("not in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// raw sends one request with this Cookie header.
func raw(tb testing.TB, url, cookie string) (int, string, http.Header) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Errorf("GET %s: %v", url, err)
		return 0, "", nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Errorf("GET %s: %v", url, err)
	}
	return res.StatusCode, strings.TrimSpace(string(body)), res.Header
}
