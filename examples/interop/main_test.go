package interop_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/examples/interop"
	"github.com/pedro-go/pedro/internal/leakcheck"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

func TestMain(m *testing.M) { leakcheck.Main(m, func() { _ = pgpooltest.Close() }) }

var quiet = slog.New(slog.DiscardHandler)

func emptyDatabase(t *testing.T) string {
	t.Helper()
	return pgpooltest.Start(t)
}

// database is one with the migrations applied.
func database(t *testing.T) string {
	t.Helper()
	return pgpooltest.Start(t, pgpooltest.WithSchema("interop", func(ctx context.Context, conn *pgx.Conn) error {
		pool, err := pgpool.New(pgpool.Config{URL: conn.Config().ConnString()})
		if err != nil {
			return err
		}
		defer pool.Stop(ctx)
		_, err = interop.Migrate(ctx, pool)
		return err
	}))
}

func openPool(t *testing.T, cfg pgpool.Config) *pgpool.Pool {
	t.Helper()
	pool, err := pgpool.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Stop(context.Background()) })
	return pool
}
