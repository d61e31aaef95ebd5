package session_test

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

func set(r *http.Request, key, value string) error {
	return session.Set(session.From(r.Context()), key, value)
}

// TestResponseOrder: in whatever order a handler writes and sets, a new session
// reaches the client or is not made, and a known one keeps its changes.
func TestResponseOrder(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	routes := appRoutes()
	late := make(chan error, 1)
	maps.Copy(routes, map[string]http.HandlerFunc{
		"/set-write": func(w http.ResponseWriter, r *http.Request) { _ = set(r, "x", "1"); _, _ = w.Write([]byte("body")) },
		"/set-flush-write": func(w http.ResponseWriter, r *http.Request) {
			_ = set(r, "x", "1")
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write([]byte("body"))
		},
		"/set-code": func(w http.ResponseWriter, r *http.Request) {
			_ = set(r, "x", "1")
			w.WriteHeader(http.StatusNoContent)
		},
		"/set-only": func(_ http.ResponseWriter, r *http.Request) { _ = set(r, "x", "1") },
		"/set-readfrom": func(w http.ResponseWriter, r *http.Request) {
			_ = set(r, "x", "1")
			_, _ = io.Copy(w, strings.NewReader("body"))
		},
		"/hints-set": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			_ = set(r, "x", "1")
			_, _ = w.Write([]byte("body"))
		},
		"/write-set": func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("body")); late <- set(r, "x", "1") },
		"/flush-set": func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			late <- set(r, "x", "1")
		},
		"/panic": func(_ http.ResponseWriter, r *http.Request) { _ = set(r, "x", "1"); panic(http.ErrAbortHandler) },
	})
	base := serve(t, m, routes)
	for _, path := range []string{"/set-write", "/set-flush-write", "/set-code", "/set-only", "/set-readfrom", "/hints-set"} {
		b := newBrowser(t, base)
		_, _, header := b.do(path)
		if n := len(header.Values("Set-Cookie")); n != 1 || header.Get("Cache-Control") != "no-store" || header.Get("Vary") != "Cookie" {
			t.Errorf("%s: got %d cookies, Cache-Control %q, Vary %q, want 1, no-store, Cookie", path, n, header.Get("Cache-Control"), header.Get("Vary"))
		}
		b.want("/get?k=x", 200, "1")
	}
	for _, path := range []string{"/write-set", "/flush-set"} {
		b := newBrowser(t, base)
		_, _, header := b.do(path)
		if err := <-late; !errors.Is(err, session.ErrHeadersSent) || header.Get("Set-Cookie") != "" {
			t.Errorf("%s without a session: Set = %v, Set-Cookie %q, want ErrHeadersSent and none", path, err, header.Get("Set-Cookie"))
		}
		b.want("/set?k=a&v=1", 200, "")
		b.get(path)
		if err := <-late; err != nil {
			t.Errorf("%s with a session: Set = %v, want nil", path, err)
		}
		eventually(t, path+" saved", func() bool { _, v := b.get("/get?k=x"); return v == "1" })
	}
	b := newBrowser(t, base)
	b.want("/set?k=x&v=before", 200, "")
	if res, err := b.http.Get(base + "/panic"); err == nil {
		res.Body.Close()
		t.Error("a panic was answered")
	}
	b.want("/get?k=x", 200, "before")
	if n := m.Stats().Created; n != 9 {
		t.Errorf("%d sessions made, want 9: none that no client has", n)
	}
}

// TestEarlyHintsPassThrough: informational responses come before the save.
func TestEarlyHintsPassThrough(t *testing.T) {
	t.Parallel()
	base := serve(t, open(t, nil, session.Config{}), map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_ = set(r, "x", "1")
		w.WriteHeader(http.StatusTeapot)
	}})
	var hints int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
		hints++
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusTeapot || hints != 1 || res.Header.Get("Set-Cookie") == "" {
		t.Errorf("got %d, %d hints, cookie %q, want 418, 1 and one", res.StatusCode, hints, res.Header.Get("Set-Cookie"))
	}
}

// TestHijack: a connection can be taken over, and a session the client has is
// saved.
func TestHijack(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	routes := appRoutes()
	routes["/hijack"] = func(w http.ResponseWriter, r *http.Request) {
		_ = set(r, "x", "hijacked")
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = buf.Flush()
		if err := session.Set(session.From(r.Context()), "y", "streamed"); err != nil {
			t.Error(err)
		}
		if err := session.From(r.Context()).Save(r.Context()); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(conn, "done\n")
	}
	base := serve(t, m, routes)
	b := newBrowser(t, base)
	b.want("/set?k=a&v=1", 200, "")
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, "GET /hijack HTTP/1.1\r\nHost: x\r\nCookie: "+b.cookies()+"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	all, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil || !strings.HasSuffix(string(all), "done\n") {
		t.Fatalf("got %q, %v, want done", all, err)
	}
	b.want("/get?k=x", 200, "hijacked")
	b.want("/get?k=y", 200, "streamed")
}

// TestFailedSave: the handler's answer is replaced, and nothing of it leaks.
func TestFailedSave(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	m := open(t, dial(t, s.URL()), session.Config{Fallback: session.FallbackOff})
	routes := appRoutes()
	var writeErr error
	routes["/private"] = func(w http.ResponseWriter, r *http.Request) {
		_ = set(r, "x", "2")
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "text/secret")
		w.Header().Set("Content-Length", "7")
		w.Header().Set("ETag", "x")
		_, writeErr = io.WriteString(w, "PRIVATE")
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/set?k=x&v=1", 200, "")
	code, body, header := b.do("/private")
	if code != http.StatusServiceUnavailable || strings.Contains(body, "PRIVATE") || header.Get("Retry-After") == "" || header.Get("Set-Cookie") != "" || writeErr == nil {
		t.Errorf("got %d %q, Retry-After %q, Write = %v, want 503, another body, a time and an error", code, body, header.Get("Retry-After"), writeErr)
	}
	if n := m.Stats().Failed; n != 1 {
		t.Errorf("%d failed saves counted, want 1", n)
	}
}

// TestController: what http.ResponseController offers goes on working.
func TestController(t *testing.T) {
	t.Parallel()
	m := open(t, nil, session.Config{})
	base := serve(t, m, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		for name, err := range map[string]error{
			"SetReadDeadline":  c.SetReadDeadline(time.Now().Add(time.Minute)),
			"SetWriteDeadline": c.SetWriteDeadline(time.Now().Add(time.Minute)),
			"FullDuplex":       c.EnableFullDuplex(),
		} {
			if err != nil {
				t.Errorf("%s = %v, want nil", name, err)
			}
		}
		_ = set(r, "x", "1")
		for range 3 { // server-sent events
			_, _ = io.WriteString(w, "data: x\n\n")
			if err := c.Flush(); err != nil {
				t.Errorf("Flush = %v, want nil", err)
			}
		}
	}})
	if _, body, header := newBrowser(t, base).do("/"); strings.Count(body, "data") != 3 || len(header.Values("Set-Cookie")) != 1 {
		t.Errorf("got %q and %d cookies, want 3 events and 1", body, len(header.Values("Set-Cookie")))
	}
	// A writer that cannot do it says so.
	session.Middleware(m)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Hijack = %v, want ErrNotSupported", err)
		}
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}
