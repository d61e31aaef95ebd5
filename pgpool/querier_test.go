package pgpool_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// TestQueriers: the pool, its replicas and a transaction of it behave like a
// connection of pgx, in success and in failure.
func TestQueriers(t *testing.T) {
	t.Parallel()
	afterConnect := 0
	p := newPool(t, pgpool.Config{URL: pgpooltest.Start(t), MaxConns: 2, MinConns: -1}, pgpool.WithAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		afterConnect++ // on a pool that is used by one goroutine
		return c.Ping(ctx)
	}))
	mustExec(t, p, "create table t (id int primary key, name text)")
	try := func(q pgpool.Querier) {
		ctx := t.Context()
		if n, err := q.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"id", "name"}, pgx.CopyFromRows([][]any{{1, "ada"}, {2, "bob"}})); n != 2 || err != nil {
			t.Errorf("CopyFrom = %d, %v", n, err)
		}
		if tag, err := q.Exec(ctx, "update t set name = name || '!' where id = $1", 1); tag.RowsAffected() != 1 || err != nil {
			t.Errorf("Exec = %v, %v", tag, err)
		}
		rows, err := q.Query(ctx, "select id, name from t order by id")
		if err != nil {
			t.Fatal(err)
		}
		if f := rows.FieldDescriptions(); len(f) != 2 || f[1].Name != "name" {
			t.Errorf("FieldDescriptions = %v", f)
		}
		var seen int
		for rows.Next() {
			seen++
			if v, err := rows.Values(); err != nil || len(v) != 2 || len(rows.RawValues()) != 2 || v[0] != int32(seen) {
				t.Errorf("Values = %v, %v", v, err)
			}
		}
		rows.Close()
		if tag := rows.CommandTag(); tag.RowsAffected() != 2 || rows.Err() != nil || seen != 2 {
			t.Errorf("CommandTag = %v, Err = %v after %d rows", tag, rows.Err(), seen)
		}
		var b pgx.Batch
		b.Queue("select name from t where id = $1", 1)
		b.Queue("delete from t")
		results := q.SendBatch(ctx, &b)
		var name string
		if err := results.QueryRow().Scan(&name); err != nil || name != "ada!" {
			t.Errorf("QueryRow = %q, %v", name, err)
		}
		if tag, err := results.Exec(); tag.RowsAffected() != 2 || err != nil {
			t.Errorf("Exec of the batch = %v, %v", tag, err)
		}
		if err := results.Close(); err != nil {
			t.Error(err)
		}
	}
	fail := func(q pgpool.Querier) {
		ctx := t.Context()
		var b pgx.Batch
		b.Queue("select 1/0")
		results := q.SendBatch(ctx, &b)
		if _, err := results.Exec(); pgpool.Code(err) != "22012" {
			t.Errorf("Exec of a batch that fails = %v, want division by zero", err)
		}
		if err := results.Close(); pgpool.Code(err) != "22012" {
			t.Errorf("Close of a batch that fails = %v, want division by zero", err)
		}
	}
	for _, q := range []pgpool.Querier{p, p.Replica()} { // there is no replica: the primary
		try(q)
		fail(q)
	}
	if err := p.InTx(t.Context(), func(_ context.Context, tx pgx.Tx) error { try(tx); return nil }); err != nil {
		t.Error(err)
	}
	if err := p.InTx(t.Context(), func(_ context.Context, tx pgx.Tx) error { fail(tx); return nil }); err == nil {
		t.Error("a transaction with a failed statement was committed")
	}
	for name, call := range map[string]func(q pgpool.Querier) error{
		"Exec": func(q pgpool.Querier) error { _, err := q.Exec(t.Context(), "select nothing"); return err },
		"CopyFrom": func(q pgpool.Querier) error {
			_, err := q.CopyFrom(t.Context(), pgx.Identifier{"none"}, []string{"a"}, pgx.CopyFromRows([][]any{{1}}))
			return err
		},
		"QueryRow": func(q pgpool.Querier) error { return q.QueryRow(t.Context(), "select nothing").Scan(new(int)) },
	} {
		for _, q := range []pgpool.Querier{p, p.Replica()} {
			if code := pgpool.Code(call(q)); code != "42703" && code != "42P01" {
				t.Errorf("%s: SQLSTATE %q, want undefined column or table", name, code)
			}
		}
	}
	if afterConnect == 0 {
		t.Error("WithAfterConnect was not called")
	}
}

// TestPruneLedger: old rows go, young ones stay.
func TestPruneLedger(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{URL: pgpooltest.Start(t)})
	if err := pgpool.CreateLedger(t.Context(), p, "ledger"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, "select 1"); return err }, pgpool.Ledger("ledger")); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int64 {
		n, err := pgpool.Get[int64](t.Context(), p, "select count(*) from ledger")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
	mustExec(t, p, "update ledger set at = now() - interval '2 hours' where id in (select id from ledger limit 2)")
	if n, err := pgpool.PruneLedger(t.Context(), p, "ledger", time.Hour); n != 2 || err != nil || count() != 1 {
		t.Errorf("PruneLedger = %d, %v, and %d rows are left, want 2 and 1", n, err, count())
	}
	if _, err := pgpool.PruneLedger(t.Context(), p, "none", time.Hour); pgpool.Code(err) != "42P01" {
		t.Errorf("PruneLedger of no table = %v", err)
	}
}
