package interop_test

import (
	"context"
	"testing"

	"github.com/georgysavva/scany/v2/pgxscan"
	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

// TestScany: scany scans from the pool, from a transaction and from what reads
// from replicas, as from pgx's own types.
func TestScany(t *testing.T) {
	t.Parallel()
	type patient struct {
		ID   int64
		Name string
		Mail *string `db:"email"`
	}
	ctx := t.Context()
	pool := openPool(t, pgpool.Config{URL: database(t)})
	err := pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var id int64
		if err := pgxscan.Get(ctx, tx, &id, "insert into patients (name) values ($1) returning id", "Anna"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "insert into patients (name, email) values ($1, $2)", "Bert", "bert@example.org")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]pgxscan.Querier{"pool": pool, "replica": pool.Replica(), "pgx": pool.Pgx()} {
		var all []patient
		if err := pgxscan.Select(ctx, q, &all, "select id, name, email from patients order by name"); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(all) != 2 || all[0].Name != "Anna" || all[0].Mail != nil || all[1].Mail == nil {
			t.Errorf("%s got %+v, want Anna without an address and Bert with one", name, all)
		}
	}
	var one patient
	if err := pgxscan.Get(ctx, pool, &one, "select id, name, email from patients where name = 'Nobody'"); !pgxscan.NotFound(err) {
		t.Errorf("nobody got %v, want scany's not found", err)
	}
}
