package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/health"
)

// TestKubelet goes through a pod's life as its kubelet sees it.
func TestKubelet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var db outcome
		db.set(errBoom)
		c := newChecker(t, health.Config{})
		c.Add("postgres", db.check)
		c.Add("redis", fail, health.Optional())
		c.SetPhase(health.Starting)
		h := health.Handler(c)
		expect := func(moment string, live, ready, basic int) {
			t.Helper()
			for path, want := range map[string]int{"/live": live, "/ready": ready, "/": basic, "/detailed": 200} {
				if got := get(h, path).Code; got != want {
					t.Errorf("%s: %s is %d, want %d", moment, path, got, want)
				}
			}
		}
		expect("before the start", 200, 503, 503)
		start(t, c)
		expect("starting, database away", 200, 503, 503)
		db.set(nil)
		time.Sleep(1100 * time.Millisecond)
		expect("starting, database there", 200, 503, 200)
		c.SetPhase(health.Running)
		expect("running", 200, 200, 200)
		db.set(errBoom)
		time.Sleep(5500 * time.Millisecond)
		expect("database lost", 200, 503, 503)
		db.set(nil)
		time.Sleep(1100 * time.Millisecond)
		expect("database back", 200, 200, 200)
		c.SetReady(false)
		expect("set not ready", 200, 503, 200)
		c.SetReady(true)
		expect("set ready", 200, 200, 200)
		c.SetDraining()
		expect("draining", 200, 503, 200)
		c.SetPhase(health.Stopping)
		expect("stopping", 200, 503, 200)
		_ = c.Stop(t.Context())
		expect("stopped", 200, 503, 200)
	})
}

// TestAnswersAtOnce hangs every dependency: in the bubble's time an answer takes
// none at all.
func TestAnswersAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := newChecker(t, health.Config{})
		for i := range 10 {
			c.Add(fmt.Sprint(i), func(context.Context) error { <-release; return nil })
		}
		start(t, c)
		defer close(release)
		time.Sleep(time.Minute)
		h := health.Handler(c)
		probes, longest := 0, time.Duration(0)
		for _, path := range []string{"/", "/live", "/ready", "/detailed", "/startup"} {
			began := time.Now()
			get(h, path)
			get(h, path, "Accept", "text/html")
			took := time.Since(began)
			if took != 0 {
				t.Errorf("%s took %v", path, took)
			}
			probes, longest = probes+2, max(longest, took)
		}
		// What is usually written by hand: each probe runs the checks.
		byHand := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
			defer cancel()
			hung := func(context.Context) error { <-release; return nil }
			if hung(ctx) != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		var answered atomic.Int64
		for range probes {
			go func() { get(byHand, "/ready"); answered.Add(1) }()
		}
		time.Sleep(10 * time.Second)
		t.Logf("%d probes, the longest took %v; a handler that runs its checks: %d of %d answered within ten seconds, each of the others holds its goroutine",
			probes, longest, answered.Load(), probes)
	})
}

func TestMountedAnywhere(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{})
	c.Add("postgres", pass)
	c.Add("redis", fail)
	start(t, c)
	h := health.Handler(c)
	mux := http.NewServeMux()
	mux.Handle("/api/health/", h)
	mux.Handle("/stripped/", http.StripPrefix("/stripped", h))
	mux.Handle("/t/{tenant}/h/", h)
	for path, want := range map[string]int{
		"/api/health/": 503, "/api/health/live": 200, "/api/health/ready": 503, "/api/health/detailed": 200, "/api/health/startup": 200,
		"/api/health/ready/": 503, "/api/health/ready/postgres": 200, "/api/health/ready/redis": 503, "/api/health/postgres": 200,
		"/api/health/ready/unknown": 404, "/api/health/unknown": 404, "/api/health/a/b/c": 404,
		"/stripped/": 503, "/stripped/live": 200, "/stripped/ready/postgres": 200, "/stripped/unknown": 404,
		"/t/acme/h/": 503, "/t/acme/h/live": 200,
		"/api/health/ready?exclude=redis": 200, "/api/health/?exclude=redis,x&exclude=y": 200, "/api/health/ready?exclude=postgres": 503,
	} {
		if got := get(mux, path); got.Code != want {
			t.Errorf("%s: %d %s, want %d", path, got.Code, got.Body, want)
		}
	}
	if got := get(h, "/whatever").Code; got != 503 { // a router that does not tell where it has mounted us
		t.Errorf("without a pattern: %d, want the basic answer", got)
	}
}

func TestMethodsAndHeaders(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{})
	c.Add("a", fail)
	start(t, c)
	srv := httptest.NewServer(health.Handler(c))
	defer srv.Close()
	for method, want := range map[string]int{
		http.MethodGet: 503, http.MethodHead: 503, http.MethodPost: 405, http.MethodPut: 405, http.MethodDelete: 405, http.MethodOptions: 405,
	} {
		req, _ := http.NewRequest(method, srv.URL+"/ready", http.NoBody)
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", method, resp.StatusCode, want)
		}
		if method == http.MethodHead && (len(body) > 0 || resp.ContentLength <= 0) {
			t.Errorf("HEAD: body %q, length %d, want none and that of GET", body, resp.ContentLength)
		}
		wants := map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
		if want == 405 {
			wants["Allow"] = "GET, HEAD"
		} else {
			wants["Vary"], wants["Retry-After"], wants["Content-Type"] = "Accept", "1", "application/json"
		}
		for name, value := range wants {
			if got := resp.Header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", method, name, got, value)
			}
		}
	}
}

func TestMedia(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{})
	c.Add("a", pass)
	start(t, c)
	h := health.Handler(c)
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
	for _, test := range []struct{ path, accept, want string }{
		{"/", "", "application/json"},
		{"/", "*/*", "application/json"},
		{"/", browser, "text/html; charset=utf-8"},
		{"/ready", browser, "text/html; charset=utf-8"},
		{"/", "application/health+json", "application/health+json"},
		{"/", "application/health+json;q=0.5, application/json", "application/json"},
		{"/", "text/html;q=0, application/json;q=0.1", "application/json"},
		{"/", "text/html;q=nonsense", "application/json"},
		{"/", "image/png", "application/json"},
		{"/", "TEXT/PLAIN", "text/plain; charset=utf-8"},
		{"/?verbose", "", "text/plain; charset=utf-8"},
		{"/?verbose", "*/*", "text/plain; charset=utf-8"},
		{"/?verbose&format=json", "", "application/json"},
		{"/?format=json", browser, "application/json"},
		{"/?format=html", "", "text/html; charset=utf-8"},
		{"/?format=health", "", "application/health+json"},
		{"/?format=text", "", "text/plain; charset=utf-8"},
		{"/?format=nonsense", "", "application/json"},
	} {
		if got := get(h, test.path, "Accept", test.accept).Header().Get("Content-Type"); got != test.want {
			t.Errorf("%s for %q: %s, want %s", test.path, test.accept, got, test.want)
		}
	}
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return v
}

// stats is like those of the other packages.
type stats struct {
	MaxConns, TotalConns, IdleConns, AcquiredConns, Waiting int32
	HitRatio                                                float64
	P99                                                     time.Duration
}

func TestBodies(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{Name: "clinic", Version: "1.2"})
	c.Add("postgres", func(context.Context) error { return fmt.Errorf("dial db.internal: %w", syscall.ECONNREFUSED) },
		health.Details(func() any { return stats{20, 5, 3, 2, 0, 0.875, 3 * time.Millisecond} }),
		health.Gauges(func() []health.Gauge { return []health.Gauge{{Name: "created", Value: 7, Counter: true}} }),
		health.Advise(func() []string { return []string{"DB_POOL_MAX: raise it"} }))
	start(t, c)
	public, all := health.Handler(c), health.Handler(c, health.WithLevel(everything))
	nothing := health.Handler(c, health.WithLevel(func(*http.Request) health.Level { return health.LevelNothing }))

	keys := func(v map[string]any) string {
		list := make([]string, 0, len(v))
		for k := range maps.Keys(v) {
			list = append(list, k)
		}
		return fmt.Sprint(len(list), list)
	}
	if got := decode[map[string]any](t, get(nothing, "/detailed")); len(got) != 2 || got["status"] != "fail" || got["timestamp"] == nil {
		t.Errorf("nothing: %v, want status and timestamp alone", keys(got))
	}
	got := decode[map[string]any](t, get(public, "/detailed"))
	postgres := got["services"].(map[string]any)["postgres"].(map[string]any)
	if postgres["status"] != "fail" || postgres["error"] != "connection refused" || postgres["message"] != nil || postgres["details"] != nil || got["advice"] != nil || got["version"] != nil {
		t.Errorf("states: %v", got)
	}
	got = decode[map[string]any](t, get(all, "/detailed"))
	postgres = got["services"].(map[string]any)["postgres"].(map[string]any)
	if postgres["message"] != "dial db.internal: connection refused" || postgres["details"].(map[string]any)["MaxConns"] != 20.0 ||
		len(postgres["gauges"].([]any)) != 7 || fmt.Sprint(got["advice"]) != "[DB_POOL_MAX: raise it]" || got["name"] != "clinic" || got["uptime"] == nil {
		t.Errorf("everything: %v", got)
	}

	draft := decode[map[string]any](t, get(all, "/detailed?format=health"))
	checks := draft["checks"].(map[string]any)
	first := checks["postgres:responseTime"].([]any)[0].(map[string]any)
	if draft["status"] != "fail" || draft["version"] != "1.2" || first["observedUnit"] != "ms" || first["status"] != "fail" || first["output"] == nil || checks["postgres:connections in use"] == nil {
		t.Errorf("draft: %v", draft)
	}

	if got, want := get(public, "/ready?verbose").Body.String(), "[-]postgres fail: connection refused\nfail\n"; got != want {
		t.Errorf("text: %q, want %q", got, want)
	}
	if got, want := get(all, "/detailed?verbose").Body.String(), "[-]postgres fail: dial db.internal: connection refused\nadvice: DB_POOL_MAX: raise it\nfail\n"; got != want {
		t.Errorf("text: %q, want %q", got, want)
	}
}

// TestDetailsThatAreNoJSON must not cost the endpoint.
func TestDetailsThatAreNoJSON(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{})
	c.Add("a", pass, health.Details(func() any { return make(chan int) }))
	start(t, c)
	for _, path := range []string{"/detailed", "/detailed?format=health", "/detailed?format=html"} {
		if w := get(health.Handler(c, health.WithLevel(everything)), path); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "pass") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestClasses(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"timeout": context.DeadlineExceeded, "connection refused": syscall.ECONNREFUSED, "connection lost": syscall.ECONNRESET,
		"network unreachable": syscall.ENETUNREACH, "authentication": sqlError("28P01"), "too many connections": sqlError("53300"),
		"starting up": sqlError("57P03"), "read-only": sqlError("25006"), "server error": sqlError("42P01"), "out of memory": errors.New("OOM command not allowed"),
		"authorization": fmt.Errorf("x: %w", errors.New("NOPERM no")), "error": errBoom, "degraded": health.Degraded(errBoom), "saturated": health.Degraded(health.ErrSaturated),
	} {
		c := newChecker(t, health.Config{})
		c.Add("a", func(context.Context) error { return fmt.Errorf("wrapped: %w", err) })
		start(t, c)
		if got := state(t, c, "a").Class; got != want {
			t.Errorf("class of %v: %q, want %q", err, got, want)
		}
	}
}

type sqlError string

func (e sqlError) Error() string    { return "ERROR: " + string(e) }
func (e sqlError) SQLState() string { return string(e) }

func TestRedactor(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{})
	c.Add("a", func(context.Context) error { return errors.New("password=canary") })
	start(t, c)
	h := health.Handler(c, health.WithLevel(everything), health.WithRedactor(func(check string, _ error) string { return "see the log of " + check }))
	for _, path := range []string{"/detailed", "/detailed?format=html", "/detailed?verbose", "/ready", "/detailed?format=health"} {
		if body := get(h, path).Body.String(); strings.Contains(body, "canary") || !strings.Contains(body, "see the log of a") {
			t.Errorf("%s: %s", path, body)
		}
	}
}

// FuzzNoSecrets plants a canary in everything that a check knows, and asks for
// all forms at the levels below everything.
func FuzzNoSecrets(f *testing.F) {
	for _, seed := range []string{"", "verbose", "format=html", "format=health&exclude=b", "exclude=a,b&verbose", "format=text", "%zz", "exclude=%00"} {
		f.Add("/detailed", seed, "text/html")
		f.Add("/ready/a", seed, "application/health+json;q=1")
	}
	const canary = "c4n4ry"
	c := newChecker(f, health.Config{Name: canary, Version: canary})
	c.Add("a", func(context.Context) error { return fmt.Errorf("postgres://u:%s@%s/db", canary, canary) },
		health.Details(func() any { return map[string]string{"dsn": canary} }),
		health.Gauges(func() []health.Gauge { return []health.Gauge{{Name: canary}} }),
		health.Advise(func() []string { return []string{canary} }))
	c.Add("b", func(context.Context) error { panic(canary) }, health.Optional())
	if err := c.Start(context.Background()); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Stop(context.Background()) })
	var handlers []http.Handler
	for _, level := range []health.Level{health.LevelNothing, health.LevelStates} {
		handlers = append(handlers, health.Handler(c, health.WithLevel(func(*http.Request) health.Level { return level })))
	}
	f.Fuzz(func(t *testing.T, path, query, accept string) {
		if strings.Contains(path+query+accept, canary) {
			return
		}
		for _, h := range handlers {
			r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			r.URL.Path, r.URL.RawQuery = path, query
			r.Header.Set("Accept", accept)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if dump := fmt.Sprint(w.Body, w.Header()); strings.Contains(dump, canary) {
				t.Errorf("%s?%s shows the secret: %s", path, query, dump)
			}
			if w.Code != 200 && w.Code != 503 && w.Code != 404 {
				t.Errorf("%s?%s: %d", path, query, w.Code)
			}
		}
	})
}

// TestCostOfReady holds the promise of at most 6 allocations.
func TestCostOfReady(t *testing.T) {
	c := newChecker(t, health.Config{})
	c.Add("a", pass)
	c.Add("b", pass)
	start(t, c)
	h := health.Handler(c)
	r := httptest.NewRequest(http.MethodGet, "/api/health/ready", http.NoBody)
	if got := testing.AllocsPerRun(100, func() { h.ServeHTTP(discard{http.Header{}}, r) }); got > 6 {
		t.Errorf("%g allocations, want 6 at most", got)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func BenchmarkHandler(b *testing.B) {
	c := newChecker(b, health.Config{})
	c.Add("a", pass)
	c.Add("b", pass)
	start(b, c)
	h := health.Handler(c, health.WithLevel(everything))
	public := health.Handler(c)
	for _, path := range []string{"/api/health/ready", "/api/health/live", "/api/health/detailed", "/api/health/detailed?format=html"} {
		h := h
		if !strings.Contains(path, "detailed") {
			h = public
		}
		b.Run(path[strings.LastIndexByte(path, '/')+1:], func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(discard{http.Header{}}, r)
			}
		})
	}
}

func TestPageIsItself(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{Name: "<clinic>"})
	c.Add("postgres", func(context.Context) error { return errors.New("<script>alert(1)</script>") })
	start(t, c)
	w := get(health.Handler(c, health.WithLevel(everything)), "/detailed", "Accept", "text/html")
	page := w.Body.String()
	for _, forbidden := range []string{"<script", "style=\"", "http://", "https://", "javascript:", "src=", "ZgotmplZ"} {
		if strings.Contains(page, forbidden) {
			t.Errorf("the page contains %s", forbidden)
		}
	}
	for _, want := range []string{"&lt;script&gt;", "✖", "Something that is needed has failed", "<title>✖ Something that is needed has failed – &lt;clinic&gt;</title>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s:\n%s", want, page)
		}
	}
	if got := w.Header().Get("Refresh"); got != "5" {
		t.Errorf("Refresh is %q, want 5", got)
	}
	if got := get(health.Handler(c), "/detailed?refresh=off&format=html").Header().Get("Refresh"); got != "" {
		t.Errorf("with ?refresh=off Refresh is %q, want none", got)
	}
	css, err := os.ReadFile("page.css")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page, "<style>"+string(css)+"</style>") {
		t.Error("the style on the page is not the one whose hash the policy has")
	}
	if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("policy %q", csp)
	}
}
