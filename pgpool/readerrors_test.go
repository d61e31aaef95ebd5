package pgpool_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

// TestReadErrors: what is wrong with a query is what Select and Get return, by
// whatever they read, and the connection comes back.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	type row struct{ ID int }
	for name, c := range map[string]struct {
		sql  string
		args []any
		code string // "" if it is not the server's error
	}{
		"syntax":      {sql: "selct 1", code: "42601"},
		"no table":    {sql: "select id from missing", code: "42P01"},
		"argument":    {sql: "select id from t where id = $1", args: []any{"x"}},
		"no argument": {sql: "select id from t where id = $1"},
		"while read":  {sql: "select 1 / (2 - i) as id from generate_series(1, 3) i", code: "22012"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newTable(t)
			check := func(by string, q pgpool.Querier) {
				_, err := pgpool.Select[row](t.Context(), q, c.sql, c.args...)
				if err == nil || c.code != "" && pgpool.Code(err) != c.code {
					t.Errorf("Select, %s: %v, want an error with code %q", by, err, c.code)
				}
			}
			checkGet := func(by string, q pgpool.Querier) {
				_, err := pgpool.Get[row](t.Context(), q, c.sql, c.args...)
				if err == nil || errors.Is(err, pgpool.ErrNotFound) || c.code != "" && pgpool.Code(err) != c.code {
					t.Errorf("Get, %s: %v, want an error with code %q", by, err, c.code)
				}
			}
			for by, q := range map[string]pgpool.Querier{"pool": p, "replica": p.Replica(), "pgx": p.Pgx()} {
				check(by, q)
				checkGet(by, q)
			}
			for _, f := range []func(by string, q pgpool.Querier){check, checkGet} {
				_ = p.InTx(t.Context(), func(_ context.Context, tx pgx.Tx) error {
					f("tx", tx)
					return errRollback
				})
				_ = p.InTx(t.Context(), func(ctx context.Context, _ pgx.Tx) error {
					return p.InTx(ctx, func(_ context.Context, tx pgx.Tx) error {
						f("savepoint", tx)
						return errRollback
					})
				})
			}
			if s := p.Stats(); s.AcquiredConns != 0 {
				t.Errorf("%d connections did not come back", s.AcquiredConns)
			}
		})
	}
}

var errRollback = errors.New("undone")
