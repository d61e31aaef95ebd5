// Package migration_test runs the code of the guides in docs/migrate: each
// service before its move and after it, on real servers.
package migration_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

var quiet = slog.New(slog.DiscardHandler)

const secret = "a secret of the tests, 40 characters long"

func dial(t *testing.T, url string) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// A browser keeps cookies.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
}

func newBrowser(t *testing.T, base string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t, base, &http.Client{Jar: jar, Transport: transport, Timeout: time.Minute}}
}

func (b *browser) send(method, path string) (code int, body string) {
	req, err := http.NewRequestWithContext(context.Background(), method, b.base+path, http.NoBody)
	if err != nil {
		b.t.Error(err)
		return 0, ""
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Errorf("%s %s: the body: %v", method, path, err)
	}
	return resp.StatusCode, strings.TrimSpace(string(data))
}

// want sends a request and compares. An empty body is not compared.
func (b *browser) want(method, path string, code int, body string) {
	b.t.Helper()
	gotCode, got := b.send(method, path)
	if gotCode != code || body != "" && got != body {
		b.t.Errorf("%s %s got %d %q, want %d %q", method, path, gotCode, got, code, body)
	}
}
