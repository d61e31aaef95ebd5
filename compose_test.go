package pedro_test

import (
	"context"
	"testing"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/internal/leakcheck"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/lifecycle/lifecycletest"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// The packages meet here and in hosts, and nowhere else.
var (
	_ lifecycle.Component = (*pgpool.Pool)(nil)
	_ lifecycle.Component = (*rediscache.Cache)(nil)
	_ lifecycle.Component = (*session.Manager)(nil)
	_ lifecycle.Component = (*health.Checker)(nil)

	_ func(context.Context) error = (*pgpool.Pool)(nil).Ping
	_ func(context.Context) error = (*rediscache.Cache)(nil).Ping
)

func TestMain(m *testing.M) { leakcheck.Main(m, func() { _ = pgpooltest.Close() }) }

// TestComponents shows that the pool and the cache keep the contract of a
// component; the tests of session, health and lifecycle show it of theirs.
func TestComponents(t *testing.T) {
	t.Parallel()
	t.Run("pgpool", func(t *testing.T) {
		t.Parallel()
		lifecycletest.Run(t, func(t *testing.T) lifecycle.Component {
			t.Helper()
			pool, err := pgpool.New(pgpool.Config{URL: pgpooltest.Start(t)})
			if err != nil {
				t.Fatal(err)
			}
			return pool
		})
	})
	t.Run("rediscache", func(t *testing.T) {
		t.Parallel()
		lifecycletest.Run(t, func(t *testing.T) lifecycle.Component {
			t.Helper()
			cache, err := rediscache.New(rediscache.Config{URL: rediscachetest.Start(t), Required: true})
			if err != nil {
				t.Fatal(err)
			}
			return cache
		})
	})
}
