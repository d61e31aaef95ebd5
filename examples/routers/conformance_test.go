package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestConformance: whatever the router, the service behaves the same, on a real
// server with a real Redis.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name := range routers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for part, test := range map[string]func(t *testing.T, router string){
				"Login": testLogin, "Users": testUsers, "Late": testLate, "Refused": testRefused,
				"Health": testHealth, "Streams": testStreams, "Stop": testStop, "Unavailable": testUnavailable,
			} {
				t.Run(part, func(t *testing.T) {
					t.Parallel()
					test(t, name)
				})
			}
		})
	}
}

func testLogin(t *testing.T, router string) {
	t.Helper()
	h := start(t, router)
	b := h.browser(t)
	b.want(http.MethodGet, "/visits", 200, "1")
	b.want(http.MethodGet, "/visits", 200, "2")
	b.want(http.MethodGet, "/account", 401, "log in first")
	resp := b.want(http.MethodPost, "/login/anna", 204, "")
	if got := resp.Header.Values("Set-Cookie"); len(got) != 1 || !strings.Contains(got[0], "HttpOnly") {
		t.Errorf("got the cookies %q, want one, HttpOnly", got)
	}
	if got := resp.Header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
		t.Errorf("a response with a session's cookie has Cache-Control %q, want no-store", got)
	}
	b.want(http.MethodGet, "/account", 200, "anna")
	resp = b.want(http.MethodGet, "/visits", 200, "3") // what the anonymous session held was kept
	if got := resp.Header.Values("Set-Cookie"); len(got) != 0 {
		t.Errorf("got the cookies %q from a request that changes no ID, want none", got)
	}
	if got := strings.Join(resp.Header.Values("Vary"), ","); !strings.Contains(got, "Cookie") {
		t.Errorf("got Vary %q, want Cookie in it", got)
	}
	b.want(http.MethodPost, "/logout", 204, "")
	b.want(http.MethodGet, "/account", 401, "log in first")
	resp = b.want(http.MethodGet, "/nowhere", 404, "")
	if got := resp.Header.Values("Set-Cookie"); len(got) != 0 {
		t.Errorf("got the cookies %q from a request that uses no session, want none", got)
	}
}

// testUsers: many users at once, on connections that are used again, stay who
// they are.
func testUsers(t *testing.T, router string) {
	t.Helper()
	h := start(t, router)
	var wg sync.WaitGroup
	for i := range 8 {
		b, user := h.browser(t), fmt.Sprintf("user-%d-%s", i, strings.Repeat("x", i))
		wg.Go(func() {
			b.want(http.MethodPost, "/login/"+user, 204, "")
			for n := range 25 {
				b.want(http.MethodGet, "/visits", 200, fmt.Sprint(n+1))
				b.want(http.MethodGet, "/account", 200, user)
			}
		})
	}
	wg.Wait()
}

// testLate: a change that comes after the first byte.
func testLate(t *testing.T, router string) {
	t.Helper()
	h := start(t, router)
	known := h.browser(t)
	known.want(http.MethodGet, "/visits", 200, "1")
	known.want(http.MethodGet, "/late", 200, "first byte\nset\n")
	known.want(http.MethodGet, "/late/value", 200, "true")
	stranger := h.browser(t)
	resp := stranger.want(http.MethodGet, "/late", 200, "first byte\n"+session.ErrHeadersSent.Error()+"\n")
	if got := resp.Header.Values("Set-Cookie"); len(got) != 0 {
		t.Errorf("got the cookies %q, want none", got)
	}
}

func testRefused(t *testing.T, router string) {
	t.Helper()
	h := start(t, router)
	b := h.browser(t)
	resp := b.want(http.MethodGet, "/account", 401, "log in first")
	if got := resp.Header.Get("WWW-Authenticate"); got != "Session" {
		t.Errorf("got WWW-Authenticate %q, want Session", got)
	}
	req := b.request(http.MethodGet, "/account")
	req.Header.Set("Cookie", "pedro.sid=forged.forged")
	if code, body, _ := b.do(req); code != 401 || strings.TrimSpace(body) != "log in first" {
		t.Errorf("with a forged cookie got %d %q, want 401", code, body)
	}
}

// testUnavailable: when it cannot be known who somebody is, that is 503 and no
// logout.
func testUnavailable(t *testing.T, router string) {
	t.Helper()
	server := rediscachetest.StartServer(t)
	one, other := startOn(t, router, server.URL()), startOn(t, router, server.URL())
	b := one.browser(t)
	b.want(http.MethodPost, "/login/anna", 204, "")
	server.Kill()
	b.base = other.base // which has never seen this session
	deadline := time.Now().Add(20 * time.Second)
	for {
		code, body, header := b.do(b.request(http.MethodGet, "/account"))
		if code == http.StatusServiceUnavailable && header.Get("Retry-After") != "" && len(header.Values("Set-Cookie")) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %d %q %v, want 503 with Retry-After and no cookie", code, body, header)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func testHealth(t *testing.T, router string) {
	t.Helper()
	h := start(t, router)
	b := h.browser(t)
	for _, path := range []string{"", "/", "/live", "/ready", "/startup", "/detailed", "/ready/redis"} {
		code, body, header := b.do(b.request(http.MethodGet, "/api/health"+path))
		if code != 200 || header.Get("Cache-Control") != "no-store" || header.Get("Set-Cookie") != "" {
			t.Errorf("%q got %d %q %v, want 200 and no-store", path, code, body, header)
		}
		if code, _, _ := b.do(b.request(http.MethodHead, "/api/health"+path)); code != 200 {
			t.Errorf("HEAD %q got %d, want 200", path, code)
		}
	}
	if code, _, _ := b.do(b.request(http.MethodGet, "/api/health/ready/nothing")); code != 404 {
		t.Errorf("a check that there is not got %d, want 404", code)
	}
	if code, _, header := b.do(b.request(http.MethodPost, "/api/health/")); code != 405 || header.Get("Allow") == "" {
		t.Errorf("POST got %d, Allow %q, want 405 and the methods", code, header.Get("Allow"))
	}
	page := b.request(http.MethodGet, "/api/health/")
	page.Header.Set("Accept", "text/html")
	if _, body, header := b.do(page); !strings.Contains(body, "<html") || !strings.Contains(header.Get("Content-Security-Policy"), "default-src") {
		t.Errorf("a browser got %.80q with %v, want the page and its policy", body, header)
	}
	h.checks.Add("broken", func(context.Context) error { return io.ErrUnexpectedEOF })
	deadline := time.Now().Add(10 * time.Second)
	for {
		code, body, header := b.do(b.request(http.MethodGet, "/api/health/ready"))
		if code == 503 && header.Get("Retry-After") != "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with a broken check /ready got %d %q, want 503 with Retry-After", code, body)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// testStreams: what is flushed arrives while the handler is at work, and the
// stop ends the stream by its good-bye.
func testStreams(t *testing.T, router string) {
	t.Helper()
	h := start(t, router)
	b := h.browser(t)
	resp, err := b.client.Do(b.request(http.MethodGet, "/events"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewReader(resp.Body)
	if line, err := events.ReadString('\n'); err != nil || line != "data: hello\n" {
		t.Fatalf("got %q, %v, want the first event while the handler is at work", line, err)
	}
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("got the type %q, want text/event-stream", got)
	}
	stopped := h.stop()
	if rest, err := io.ReadAll(events); err != nil || string(rest) != "\ndata: good-bye\n\n" {
		t.Errorf("got %q, %v at the stop, want the good-bye and a clean end", rest, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("the stop: %v", err)
	}
}

// testStop: during the drain everything is answered and readiness is off; a
// request at work at the stop is finished, with its session.
func testStop(t *testing.T, router string) {
	t.Helper()
	h := start(t, router)
	b, other := h.browser(t), h.browser(t)
	b.want(http.MethodPost, "/login/anna", 204, "")
	answered := make(chan string, 1)
	go func() {
		code, body, _ := other.do(other.request(http.MethodGet, "/report"))
		answered <- fmt.Sprint(code, " ", body)
	}()
	<-h.working
	h.group.Drain()
	b.want(http.MethodGet, "/api/health/live", 200, "")
	resp := b.want(http.MethodGet, "/api/health/ready", 503, "")
	if !resp.Close {
		t.Error("while draining the connection is kept open, want Connection: close")
	}
	b.want(http.MethodGet, "/account", 200, "anna") // still served
	stopped := h.stop()
	deadline := time.Now().Add(20 * time.Second)
	for { // until the listener is closed, so that the stop has begun
		resp, err := http.Get(h.base + "/api/health/live")
		if err != nil {
			break
		}
		_ = resp.Body.Close()
		if time.Now().After(deadline) {
			t.Fatal("the listener is open 20s after the stop began")
		}
	}
	select {
	case err := <-stopped:
		t.Errorf("stopped (%v) while a request was at work", err)
	default:
	}
	close(h.release)
	if got := <-answered; got != "200 report" {
		t.Errorf("the request at work got %q, want 200 report", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("the stop: %v", err)
	}
}

// A host is a running service.
type host struct {
	base     string
	checks   *health.Checker
	group    *lifecycle.Group
	working  chan struct{} // a /report is at work
	release  chan struct{} // lets it finish
	stopOnce func() <-chan error
}

func start(t *testing.T, router string) *host {
	t.Helper()
	return startOn(t, router, rediscachetest.Start(t))
}

func startOn(t *testing.T, router, redisURL string) *host {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	opts, err := redis.ParseURL(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	sessions, err := session.New(client, session.Config{Secrets: []string{strings.Repeat("s", 40)}}, session.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	checks, err := health.New(health.Config{Interval: 50 * time.Millisecond}, health.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	checks.Add("redis", func(ctx context.Context) error { return client.Ping(ctx).Err() }, health.Optional())
	h := &host{checks: checks, working: make(chan struct{}), release: make(chan struct{})}
	a := &app{sessions: sessions, checks: checks, report: func(context.Context) string {
		close(h.working)
		<-h.release
		return "report"
	}}
	h.group, err = lifecycle.New(lifecycle.Config{}, lifecycle.WithDrain(0, checks.SetDraining), lifecycle.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	srv := routers[router](a, "127.0.0.1:0")
	h.group.Add("redis", lifecycle.Funcs{OnStop: func(context.Context) error { return client.Close() }})
	h.group.Add("sessions", sessions)
	h.group.Add("health", checks)
	h.group.Add("http", srv)
	if err := h.group.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.base = "http://" + srv.Addr().String()
	h.stopOnce = sync.OnceValue(func() <-chan error {
		stopped := make(chan error, 1)
		go func() { stopped <- h.group.Stop(context.Background()) }()
		return stopped
	})
	t.Cleanup(func() { _ = h.group.Stop(context.Background()) })
	return h
}

func (h *host) stop() <-chan error { return h.stopOnce() }

// A browser keeps cookies.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
}

func (h *host) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, base: h.base, client: &http.Client{Jar: jar, Transport: transport, Timeout: time.Minute}}
}

func (b *browser) request(method, path string) *http.Request {
	req, err := http.NewRequestWithContext(context.Background(), method, b.base+path, http.NoBody)
	if err != nil {
		b.t.Error(err)
	}
	return req
}

func (b *browser) do(req *http.Request) (code int, body string, header http.Header) {
	resp, body := b.send(req)
	return resp.StatusCode, body, resp.Header
}

func (b *browser) send(req *http.Request) (*http.Response, string) {
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
		return &http.Response{Header: http.Header{}}, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Errorf("%s %s: the body: %v", req.Method, req.URL.Path, err)
	}
	return resp, string(body)
}

// want sends a request and compares. An empty body is not compared.
func (b *browser) want(method, path string, code int, body string) *http.Response {
	b.t.Helper()
	resp, got := b.send(b.request(method, path))
	if resp.StatusCode != code || body != "" && strings.TrimSpace(got) != strings.TrimSpace(body) {
		b.t.Errorf("%s %s got %d %q, want %d %q", method, path, resp.StatusCode, got, code, body)
	}
	return resp
}

// TestFiberStreamBeginsAfterTheHandler: fasthttp starts a stream writer when it
// is set, beside the handler and the middleware around it.
func TestFiberStreamBeginsAfterTheHandler(t *testing.T) {
	t.Parallel()
	m, err := session.New(nil, session.Config{Secrets: []string{strings.Repeat("s", 40)}})
	if err != nil {
		t.Fatal(err)
	}
	var left atomic.Bool
	app := fiber.New(fiber.Config{Immutable: true})
	app.Use(fiberSession(m), func(c fiber.Ctx) error {
		err := c.Next()
		time.Sleep(50 * time.Millisecond) // a writer that does not wait is done long before
		left.Store(true)
		return err
	})
	app.Get("/", func(c fiber.Ctx) error {
		return fiberStream(c, func(w *bufio.Writer) { fmt.Fprint(w, left.Load()) })
	})
	resp, err := app.Test(httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "true" {
		t.Errorf("got %q, %v, want a stream that begins when the handlers have ended", body, err)
	}
}

// TestRoutersAreComplete: what the flag's help promises is there.
func TestRoutersAreComplete(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nethttp", "chi", "gorilla", "gin", "echo", "fiber"} {
		if routers[name] == nil {
			t.Errorf("no router %q", name)
		}
	}
	if err := run(t.Context(), "none"); err == nil || !slices.Contains(strings.Fields(err.Error()), `"none"`) {
		t.Errorf("an unknown router got %v, want an error that names it", err)
	}
}
