package health_test

import (
	"net/http"
	"testing"

	"github.com/pedro-go/pedro/health"
)

// TestMountWithNamesInIt shows that nothing in the mount passes for an endpoint
// or a check: the check health passes, and the service is not ready.
func TestMountWithNamesInIt(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{})
	c.Add("health", pass)
	c.Add("db", fail)
	start(t, c)
	h := health.Handler(c)
	for _, test := range []struct {
		pattern, path string
		want          int
	}{
		{"/live/health/", "/live/health/", 503},
		{"/live/health/", "/live/health/live", 200},
		{"/live/health/", "/live/health/health", 200},
		{"/live/health/", "/live/health/ready/db", 503},
		{"/detailed/health/", "/detailed/health/", 503},
		{"/detailed/health/", "/detailed/health/db", 503},
		{"/startup/x/", "/startup/x/", 503},
		{"/live/", "/live/", 503},
		{"/live/", "/live/live", 200},
		{"/ready/", "/ready/health", 200},
		{"/api/health/", "/api/health/", 503},
		{"/api/health/", "/api/health/nothing", 404},
		{"GET /live/health/", "/live/health/", 503},
		{"example.com/live/health/", "/live/health/", 503},
		{"GET example.com/live/health/", "/live/health/", 503},
		{"/live/{rest...}", "/live/", 503},
		{"/{tenant}/health/", "/live/health/", 503},
		{"/{tenant}/health/", "/live/health/live", 200},
		{"/", "/any/router/live", 200}, // around a router that tells nothing
		{"/", "/any/router/ready/health", 200},
		{"/any/", "/any/router/live", 200},
		{"GET /live", "/live", 200}, // an endpoint alone
		{"/probes/{endpoint}", "/probes/live", 200},
		{"/api/ready/health", "/api/ready/health", 200},
	} {
		mux := http.NewServeMux()
		mux.Handle(test.pattern, h)
		if got := get(mux, test.path); got.Code != test.want {
			t.Errorf("GET %s at %s: %d %s, want %d", test.path, test.pattern, got.Code, got.Body, test.want)
		}
	}
}

// TestStrippedMountWithNamesInIt has the prefix, or a part of it, stripped, which
// the pattern does not tell.
func TestStrippedMountWithNamesInIt(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{})
	c.Add("health", pass)
	c.Add("db", fail)
	start(t, c)
	h := health.Handler(c)
	for _, test := range []struct {
		pattern, strip, path string
		want                 int
	}{
		{"/live/", "/live", "/live/", 503},
		{"/live/", "/live", "/live/live", 200},
		{"/live/", "/live/", "/live/", 503},
		{"/live/", "/live/", "/live/ready", 503},
		{"/live/probes/", "/live", "/live/probes/", 503},
		{"/health/", "/health", "/health/", 503},
		{"/health/", "/health", "/health/health", 200},
		{"/health/", "/health", "/health/ready/health", 200},
		{"/health/", "/health", "/health/nothing", 404},
	} {
		mux := http.NewServeMux()
		mux.Handle(test.pattern, http.StripPrefix(test.strip, h))
		if got := get(mux, test.path); got.Code != test.want {
			t.Errorf("GET %s at %s without %s: %d %s, want %d", test.path, test.pattern, test.strip, got.Code, got.Body, test.want)
		}
	}
}

// TestStrippedWildcard has the prefix stripped by other means: what is left is
// not what the router took the wildcard for.
func TestStrippedWildcard(t *testing.T) {
	t.Parallel()
	c := newChecker(t, health.Config{})
	c.Add("db", fail)
	start(t, c)
	h := health.Handler(c)
	mux := http.NewServeMux()
	mux.HandleFunc("/{tenant}/", func(w http.ResponseWriter, r *http.Request) {
		http.StripPrefix("/"+r.PathValue("tenant"), h).ServeHTTP(w, r)
	})
	if got := get(mux, "/acme/detailed/db"); got.Code != http.StatusOK {
		t.Errorf("%d %s, want the details of db", got.Code, got.Body)
	}
}
