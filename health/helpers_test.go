package health_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pedro-go/pedro/health"
)

var errBoom = errors.New("boom")

func pass(context.Context) error { return nil }
func fail(context.Context) error { return errBoom }

func everything(*http.Request) health.Level { return health.LevelEverything }

func newChecker(tb testing.TB, cfg health.Config, opts ...health.Option) *health.Checker {
	tb.Helper()
	c, err := health.New(cfg, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// start starts a checker for the length of the test.
func start(tb testing.TB, c *health.Checker) {
	tb.Helper()
	if err := c.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Stop(context.Background()); err != nil {
			tb.Error(err)
		}
	})
}

// get asks a handler. Headers are given in pairs.
func get(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// state returns a check of a report.
func state(t *testing.T, c *health.Checker, name string) health.CheckReport {
	t.Helper()
	for _, r := range c.Report(t.Context()).Checks {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no check %s in the report", name)
	return health.CheckReport{}
}
