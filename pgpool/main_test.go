package pgpool_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/leakcheck"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

func TestMain(m *testing.M) {
	leakcheck.Main(m, func() { _ = pgpooltest.Close() })
}

// newPool starts a pool on a fresh database, or the one that cfg names, and
// stops it with the test.
func newPool(tb testing.TB, cfg pgpool.Config, opts ...pgpool.Option) *pgpool.Pool {
	tb.Helper()
	if cfg.URL == "" {
		cfg.URL = pgpooltest.Start(tb)
	}
	p, err := pgpool.New(cfg, append([]pgpool.Option{pgpool.WithLogger(testLogger(tb))}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			tb.Errorf("Stop: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		tb.Fatal(err)
	}
	return p
}

// mustExec runs statements that a test needs.
func mustExec(tb testing.TB, q pgpool.Querier, statements ...string) {
	tb.Helper()
	for _, sql := range statements {
		if _, err := q.Exec(context.Background(), sql); err != nil {
			tb.Fatalf("%s: %v", sql, err)
		}
	}
}

// eventually polls until cond holds.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			tb.Fatalf("still not: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// testLogger shows the pool's log with -v.
func testLogger(tb testing.TB) *slog.Logger {
	tb.Helper()
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
