package session_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/pedro-go/pedro/session"
)

// upgrading is a server that takes every connection over.
func upgrading(t *testing.T) *url.URL {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = buf.Flush()
		_ = conn.Close()
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestSaveThenUpgrade: a cookie that a Save has made gets to the client with the
// response that switches protocols.
func TestSaveThenUpgrade(t *testing.T) {
	t.Parallel()
	proxy := httputil.NewSingleHostReverseProxy(upgrading(t))
	for name, change := range map[string]func(s *session.Session) error{
		"Regenerate": (*session.Session).Regenerate,
		"Login":      func(s *session.Session) error { return s.SetAuthenticated("ada", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			routes := appRoutes()
			routes["/upgrade"] = func(w http.ResponseWriter, r *http.Request) {
				s := session.From(r.Context())
				if err := change(s); err != nil {
					t.Error(err)
				}
				if err := s.Save(r.Context()); err != nil {
					t.Error(err)
				}
				proxy.ServeHTTP(w, r)
			}
			b := newBrowser(t, serve(t, open(t, nil, session.Config{}), routes))
			b.want("/login?u=ada", 200, "")
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.base+"/upgrade", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "echo")
			res, err := b.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusSwitchingProtocols {
				t.Errorf("got %d, want 101", res.StatusCode)
			}
			b.want("/me", 200, "ada")
		})
	}
}
