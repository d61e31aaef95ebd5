package pgpool_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

// TestTransactionEndedBySQL: nobody claims to know what became of a transaction
// that a statement of its function ended.
func TestTransactionEndedBySQL(t *testing.T) {
	t.Parallel()
	for sql, stands := range map[string]int{"commit": 1, "rollback": 0} {
		p := newTable(t)
		ran := false
		err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			pgpool.AfterCommit(ctx, func(context.Context) { ran = true })
			if err := insert(ctx, tx, 1); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, sql)
			return err
		})
		if !errors.Is(err, pgpool.ErrTxManaged) || errors.Is(err, pgx.ErrTxCommitRollback) {
			t.Errorf("%s: %v, want ErrTxManaged", sql, err)
		}
		if list := ids(t, p); len(list) != stands || ran {
			t.Errorf("%s: rows %v, hooks ran: %v", sql, list, ran)
		}
	}
}

// TestLargeObjectsAfterTheEnd: they are those of the transaction, and of no other
// use of its connection.
func TestLargeObjectsAfterTheEnd(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 1, MinConns: -1})
	for name, outcome := range map[string]error{"committed": nil, "rolled back": errMine} {
		var objects pgx.LargeObjects
		err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			objects = tx.LargeObjects()
			if _, err := objects.Create(ctx, 0); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return outcome
		})
		if !errors.Is(err, outcome) {
			t.Errorf("%s: %v", name, err)
		}
		if oid, err := objects.Create(t.Context(), 0); !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("%s: Create gives %d and %v, want ErrTxClosed", name, oid, err)
		}
	}
	if n, opened := count(t, p, "pg_largeobject_metadata"), p.Stats().Opened; n != 1 || opened != 1 {
		t.Errorf("%d large objects stand, %d connections were opened, want 1 and 1", n, opened)
	}
}

// TestTxRowsOfNothing: rows of a query that failed, or never began, return the
// error whatever they are asked.
func TestTxRowsOfNothing(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	check := func(name string, rows pgx.Rows, wants func(error) bool) {
		if err := rows.Scan(new(int)); !wants(err) {
			t.Errorf("%s: Scan: %v", name, err)
		}
		if _, err := rows.Values(); !wants(err) || !wants(rows.Err()) {
			t.Errorf("%s: Values: %v, Err: %v", name, err, rows.Err())
		}
		if rows.Next() || rows.RawValues() != nil || rows.Conn() != nil || rows.FieldDescriptions() != nil || rows.CommandTag().String() != "" {
			t.Errorf("%s: the rows have something", name)
		}
		rows.Close()
	}
	var ended pgx.Tx
	_ = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, "selct 1")
		check("refused", rows, func(err error) bool { return pgpool.Code(err) == "42601" })
		ended = tx
		return errRollback
	})
	rows, _ := ended.Query(t.Context(), "select 1")
	check("ended", rows, func(err error) bool { return errors.Is(err, pgx.ErrTxClosed) })
}

// TestRefusedArguments: what has no meaning is refused, or does nothing.
func TestRefusedArguments(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	err := p.InTx(t.Context(), func(ctx context.Context, _ pgx.Tx) error {
		pgpool.AfterCommit(ctx, nil)
		if err := p.InTx(ctx, func(context.Context, pgx.Tx) error { return nil }, pgpool.Isolation("bogus")); err == nil {
			t.Error("a nested transaction with a bogus isolation level: no error")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	pgpool.AfterCommit(t.Context(), nil)
	if err := pgpool.CreateLedger(t.Context(), p, ""); err == nil {
		t.Error("CreateLedger without a name: no error")
	}
	if _, err := pgpool.PruneLedger(t.Context(), p, "", 0); err == nil {
		t.Error("PruneLedger without a name: no error")
	}
}
