package session_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/session"
)

func TestConfigFromEnv(t *testing.T) {
	t.Setenv("SESSION_SECRET", secret+", "+strings.Repeat("b6f1", 4)+secret[:16])
	t.Setenv("SESSION_NAME", "clinic.sid")
	t.Setenv("SESSION_IDLE_TIMEOUT", "600000")
	t.Setenv("SESSION_LIFETIME", "8h")
	t.Setenv("SESSION_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")
	t.Setenv("SESSION_FALLBACK", "read-only")
	t.Setenv("APP_ENV", "production")
	cfg, err := session.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.New(nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	got := m.Config()
	if len(cfg.Secrets) != 2 || got.Name != "clinic.sid" || got.IdleTimeout != 10*time.Minute || got.Lifetime != 8*time.Hour ||
		!got.Production || len(got.TrustedProxies) != 2 || got.Fallback != session.FallbackReadOnly || got.RegenerateEvery != session.DefaultRegenerateEvery {
		t.Errorf("got %+v", got)
	}
	for _, s := range []string{cfg.String(), fmt.Sprintf("%+v %#v %v", cfg, cfg, got), slog.AnyValue(cfg).Resolve().String(), cfg.LogValue().String()} {
		if strings.Contains(s, secret) {
			t.Errorf("a secret shows in %s", s)
		}
	}
}

func TestConfigFromEnvReportsEverything(t *testing.T) {
	t.Setenv("SESSION_SECRET", "hunter2")
	t.Setenv("SESSION_NAME", "a b")
	t.Setenv("SESSION_IDLE_TIMEOUT", "soon")
	t.Setenv("SESSION_SAMESITE", "perhaps")
	t.Setenv("SESSION_MAX_PER_USER", "-1")
	t.Setenv("SESSION_TRUSTED_PROXIES", "everybody")
	t.Setenv("SESSION_FALLBACK", "hope")
	t.Setenv("APP_ENV", "Production")
	_, err := session.ConfigFromEnv()
	if !errors.Is(err, session.ErrInvalidConfig) {
		t.Fatalf("got %v, want ErrInvalidConfig", err)
	}
	for _, name := range []string{"SECRET", "NAME", "IDLE_TIMEOUT", "SAMESITE", "MAX_PER_USER", "TRUSTED_PROXIES", "FALLBACK"} {
		if !strings.Contains(err.Error(), "SESSION_"+name+":") {
			t.Errorf("the error does not name SESSION_%s: %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the error shows a value")
	}
}

// TestProductionWithBlanks: what a file or a shell leaves around the word.
func TestProductionWithBlanks(t *testing.T) {
	t.Setenv("SESSION_SECRET", secret)
	for _, v := range []string{"production\r", " production", "Production\n"} {
		t.Setenv("APP_ENV", v)
		if cfg, err := session.ConfigFromEnv(); err != nil || !cfg.Production {
			t.Errorf("APP_ENV=%q: production %v, %v", v, cfg.Production, err)
		}
	}
}

// TestNilClient: a client that was never made is no wish for memory only.
func TestNilClient(t *testing.T) {
	t.Parallel()
	var plain *redis.Client
	var cluster *redis.ClusterClient
	for _, c := range []redis.UniversalClient{plain, cluster} {
		if _, err := session.New(c, session.Config{}); !errors.Is(err, session.ErrInvalidConfig) {
			t.Errorf("a nil %T: got %v, want ErrInvalidConfig", c, err)
		}
	}
}

// TestDomainAndPath: what net/http does not send as it is, is refused.
func TestDomainAndPath(t *testing.T) {
	t.Parallel()
	for cfg, ok := range map[[2]string]bool{
		{"example.org", "/"}:     true,
		{".example.org", "/app"}: true,
		{"127.0.0.1", "/a b"}:    true,
		{"*.example.org", "/"}:   false,
		{"münchen.de", "/"}:      false,
		{"-example.org", "/"}:    false,
		{"a_b.example.org", "/"}: false,
		{"..example.org", "/"}:   false,
		{"[::1]", "/"}:           false,
		{"a b", "/"}:             false,
		{"", "/ä"}:               false,
		{"", "/a\x00b"}:          false,
		{"", "/a;b"}:             false,
	} {
		m, err := session.New(nil, session.Config{Secrets: []string{secret}, Domain: cfg[0], Path: cfg[1]})
		if ok != (err == nil) || !ok && !errors.Is(err, session.ErrInvalidConfig) {
			t.Errorf("Domain %q, Path %q: got %v, want accepted: %v", cfg[0], cfg[1], err, ok)
		}
		if err != nil {
			continue
		}
		w := httptest.NewRecorder()
		session.Middleware(m)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _ = set(r, "a", "1") })).
			ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		c := w.Result().Cookies()[0]
		if c.Domain != strings.TrimPrefix(cfg[0], ".") || c.Path != cfg[1] {
			t.Errorf("Domain %q, Path %q: sent as %q, %q", cfg[0], cfg[1], c.Domain, c.Path)
		}
	}
}

// TestProductionRefuses: secrets that are none.
func TestProductionRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "short", "your-secret-key-here", "keyboard cat keyboard cat keyboard cat", strings.Repeat("a", 64), strings.Repeat("ab", 32), "please-changeme-please-changeme-please"} {
		var secrets []string
		if s != "" {
			secrets = []string{s}
		}
		if _, err := session.New(nil, session.Config{Production: true, Secrets: secrets}); !errors.Is(err, session.ErrInvalidConfig) || s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("secret %q in production: got %v, want ErrInvalidConfig without it", s, err)
		}
		if _, err := session.New(nil, session.Config{Secrets: secrets}); err != nil {
			t.Errorf("secret %q in development: got %v, want none", s, err)
		}
	}
	if _, err := session.New(nil, session.Config{Production: true, Secrets: []string{secret}}); err != nil {
		t.Errorf("a good secret: %v", err)
	}
}

// TestCookieAttributes: what browsers are told, by configuration and request.
func TestCookieAttributes(t *testing.T) {
	t.Parallel()
	https := http.Header{"X-Forwarded-Proto": {"https"}}
	for name, c := range map[string]struct {
		cfg    session.Config
		header http.Header
		want   string // after the value
		prefix string
	}{
		"development":         {session.Config{}, nil, "; Path=/; HttpOnly; SameSite=Lax", "pedro.sid="},
		"production":          {session.Config{Production: true}, nil, "; Path=/; HttpOnly; Secure; SameSite=Lax", "__Host-pedro.sid="},
		"production, domain":  {session.Config{Production: true, Domain: "example.org"}, nil, "; Path=/; Domain=example.org; HttpOnly; Secure; SameSite=Lax", "__Secure-pedro.sid="},
		"production, path":    {session.Config{Production: true, Path: "/app"}, nil, "; Path=/app; HttpOnly; Secure; SameSite=Lax", "__Secure-pedro.sid="},
		"host prefix":         {session.Config{HostPrefix: true}, nil, "; Path=/; HttpOnly; Secure; SameSite=Lax", "__Host-pedro.sid="},
		"partitioned":         {session.Config{Partitioned: true, SameSite: "none"}, nil, "; Path=/; HttpOnly; Secure; SameSite=None; Partitioned", "pedro.sid="},
		"strict":              {session.Config{SameSite: "Strict"}, nil, "; Path=/; HttpOnly; SameSite=Strict", "pedro.sid="},
		"persistent":          {session.Config{Persistent: true, Lifetime: time.Hour}, nil, "; Path=/; Max-Age=3599; HttpOnly; SameSite=Lax", "pedro.sid="},
		"trusted proxy":       {session.Config{TrustedProxies: []string{"127.0.0.0/8", "::1"}}, https, "; Path=/; HttpOnly; Secure; SameSite=Lax", "pedro.sid="},
		"proxy not trusted":   {session.Config{}, https, "; Path=/; HttpOnly; SameSite=Lax", "pedro.sid="},
		"other proxy trusted": {session.Config{TrustedProxies: []string{"10.0.0.0/8"}}, https, "; Path=/; HttpOnly; SameSite=Lax", "pedro.sid="},
	} {
		m := open(t, nil, c.cfg)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, app(t, m)+"/set?k=a&v=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(req.Header, c.header)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		got := res.Header.Values("Set-Cookie")
		if len(got) != 1 || !strings.HasPrefix(got[0], c.prefix) || len(got[0]) != len(c.prefix)+66+len(c.want) || !strings.HasSuffix(got[0], c.want) {
			t.Errorf("%s: got %q, want %s…%s", name, got, c.prefix, c.want)
		}
	}
}

// TestSecretRotation: the new secret signs, the old one verifies, and what it
// made is made anew in use.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	const next = "c4e1d07ab95f2386c4e1d07ab95f2386"
	url := redisURL(t)
	b := newBrowser(t, app(t, open(t, dial(t, url), session.Config{})))
	b.want("/login?u=ada", 200, "")
	before := b.cookies()
	both := open(t, dial(t, url), session.Config{Secrets: []string{next, secret}})
	b.base = app(t, both)
	b.want("/me", 200, "ada")
	if b.cookies() == before {
		t.Error("the cookie was not signed anew")
	}
	if list, err := both.Sessions(t.Context(), "ada"); err != nil || len(list) != 1 {
		t.Errorf("Sessions = %d, %v, want 1", len(list), err)
	}
	only := open(t, dial(t, url), session.Config{Secrets: []string{next}})
	b.base = app(t, only)
	b.want("/me", 200, "ada")
	if list, err := only.Sessions(t.Context(), "ada"); err != nil || len(list) != 1 {
		t.Errorf("Sessions with the new secret only = %d, %v, want 1", len(list), err)
	}
	if code, _, _ := raw(t, b.base+"/me", before); code != 401 {
		t.Errorf("the cookie of the old secret got %d, want 401", code)
	}
}

// TestTooLarge: the error names the keys to blame, and the session is as before.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{MaxBytes: 4096})
	routes := appRoutes()
	routes["/large"] = func(_ http.ResponseWriter, r *http.Request) {
		err := session.Set(session.From(r.Context()), "novel", strings.Repeat("x", 5000))
		if !errors.Is(err, session.ErrTooLarge) || !strings.Contains(err.Error(), `"novel" (5002 bytes)`) {
			t.Errorf("Set = %v, want ErrTooLarge that names novel", err)
		}
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/set?k=a&v=1", 200, "")
	b.want("/large", 200, "")
	b.want("/get?k=a", 200, "1")
	if advice := m.Advice(); len(advice) != 0 {
		t.Errorf("Advice = %q, want none", advice)
	}
	b.want("/set?k=b&v="+strings.Repeat("y", 3300), 200, "")
	if advice := strings.Join(m.Advice(), "\n"); !strings.Contains(advice, "SESSION_MAX_BYTES") {
		t.Errorf("Advice = %q, want a word on SESSION_MAX_BYTES", advice)
	}
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	remote := redis.NewClient(&redis.Options{Addr: "redis.example.org:6379"})
	t.Cleanup(func() { _ = remote.Close() })
	for name, c := range map[string]struct {
		client redis.UniversalClient
		cfg    session.Config
		want   []string
	}{
		"weak secret":  {nil, session.Config{Secrets: []string{"short"}}, []string{"SESSION_SECRET", "in memory only"}},
		"remote Redis": {remote, session.Config{Secrets: []string{secret}}, []string{"APP_ENV=production"}},
		"well":         {remote, session.Config{Secrets: []string{secret}, Production: true}, nil},
	} {
		m, err := session.New(c.client, c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		got := m.Advice()
		if len(got) != len(c.want) {
			t.Errorf("%s: got %q, want %d hints", name, got, len(c.want))
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("%s: got %q, want a word on %s", name, got[i], want)
			}
		}
	}
}

// TestWithoutMiddleware: no panic, and an error that says what is missing.
func TestWithoutMiddleware(t *testing.T) {
	t.Parallel()
	s := session.From(t.Context())
	if err := session.Set(s, "a", 1); !errors.Is(err, session.ErrNoSession) {
		t.Errorf("Set = %v, want ErrNoSession", err)
	}
	for name, err := range map[string]error{
		"SetAuthenticated":    session.SetAuthenticated(t.Context(), "ada", nil),
		"ClearAuthentication": session.ClearAuthentication(t.Context()),
		"Regenerate":          s.Regenerate(),
		"Save":                s.Save(t.Context()),
		"Update":              session.Update(s, "n", func(n int) int { return n + 1 }),
	} {
		if !errors.Is(err, session.ErrNoSession) {
			t.Errorf("%s = %v, want ErrNoSession", name, err)
		}
	}
	if _, ok := session.Get[int](s, "a"); ok || session.IsAuthenticated(t.Context()) || !s.IsNew() || len(s.Keys()) != 0 {
		t.Error("an empty session is not empty")
	}
	_, _ = session.Pop[int](s, "a")
	s.Delete("a")
}

// TestStepUp: what matters wants a recent login.
func TestStepUp(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	routes := appRoutes()
	routes["/old"] = session.RequireRecent(time.Nanosecond)(routes["/me"]).ServeHTTP
	routes["/recent"] = session.RequireRecent(time.Minute)(routes["/me"]).ServeHTTP
	b := newBrowser(t, serve(t, m, routes))
	b.want("/recent", 401, "log in first")
	b.want("/login?u=ada", 200, "")
	b.want("/recent", 200, "ada")
	b.want("/old", 401, "log in again to do this")
}
