package pgpool_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

func TestSavepoints(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	var hooks []int
	hook := func(ctx context.Context, i int) {
		pgpool.AfterCommit(ctx, func(context.Context) { hooks = append(hooks, i) })
	}
	err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		hook(ctx, 1)
		if err := insert(ctx, tx, 1); err != nil {
			return err
		}
		// fails and is rolled back, the outer goes on
		err := p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			hook(ctx, 2)
			if err := insert(ctx, tx, 2); err != nil {
				return err
			}
			return insert(ctx, tx, 1)
		})
		if !pgpool.IsUniqueViolation(err, "t_pkey") {
			t.Errorf("nested: %v, want a unique violation", err)
		}
		// never sends anything
		err = p.InTx(ctx, func(context.Context, pgx.Tx) error { return errMine })
		if !errors.Is(err, errMine) {
			t.Errorf("nested: %v", err)
		}
		// stands, with one in it that does not
		return p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			hook(ctx, 3)
			if err := insert(ctx, tx, 3); err != nil {
				return err
			}
			_ = p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
				_ = insert(ctx, tx, 4)
				return errMine
			})
			return insert(ctx, tx, 5)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if list := ids(t, p); len(list) != 3 || list[0] != 1 || list[1] != 3 || list[2] != 5 {
		t.Errorf("rows %v, want 1 3 5", list)
	}
	if len(hooks) != 2 || hooks[0] != 1 || hooks[1] != 3 {
		t.Errorf("hooks %v, want 1 3", hooks)
	}
}

// TestSavepointNotUndone: what a nested transaction wrote that failed and could not
// be rolled back, because its rows are open, is not committed by the outer one.
func TestSavepointNotUndone(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	for name, outcome := range map[string]error{"fn failed": errMine, "fn is not done": nil} {
		ran := false
		err := p.InTx(t.Context(), func(ctx context.Context, _ pgx.Tx) error {
			var rows pgx.Rows
			err := p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
				pgpool.AfterCommit(ctx, func(context.Context) { ran = true })
				_ = insert(ctx, tx, 1)
				rows, _ = tx.Query(ctx, "select 1") //nolint:sqlclosecheck // too late, by the outer one
				return outcome
			})
			if !errors.Is(err, pgpool.ErrTxBusy) || !errors.Is(err, outcome) && outcome != nil {
				t.Errorf("%s: nested: %v, want ErrTxBusy and the error of fn", name, err)
			}
			rows.Close()
			return nil // the nested one was optional
		})
		if !errors.Is(err, pgx.ErrTxCommitRollback) {
			t.Errorf("%s: got %v, want ErrTxCommitRollback", name, err)
		}
		if list := ids(t, p); len(list) != 0 || ran {
			t.Errorf("%s: rows %v stand, hooks ran: %v", name, list, ran)
		}
	}
}

// TestSavepointAfterItsEnd: a savepoint that has ended, or one around it, does
// nothing any more.
func TestSavepointAfterItsEnd(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	end := map[string]func(context.Context, pgx.Tx) error{
		"Commit":   func(ctx context.Context, tx pgx.Tx) error { return tx.Commit(ctx) },
		"Rollback": func(ctx context.Context, tx pgx.Tx) error { return tx.Rollback(ctx) },
	}
	for name, end := range end {
		err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			outer, _ := tx.Begin(ctx)
			inner, _ := outer.Begin(ctx)
			if err := end(ctx, outer); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, sp := range []pgx.Tx{outer, inner} {
				for what, err := range useAll(ctx, sp) {
					if !errors.Is(err, pgx.ErrTxClosed) {
						t.Errorf("%s after %s: %v, want ErrTxClosed", what, name, err)
					}
				}
			}
			return insert(ctx, tx, 1) // the transaction goes on
		})
		if list := ids(t, p); err != nil || len(list) != 1 {
			t.Errorf("%s: rows %v, %v", name, list, err)
		}
		mustExec(t, p, "truncate t")
	}
}

// useAll calls all methods of tx that use its connection, and the package's
// functions.
func useAll(ctx context.Context, tx pgx.Tx) map[string]error {
	const sql = "insert into t values (2) returning id"
	errs := map[string]error{}
	_, errs["Exec"] = tx.Exec(ctx, sql)
	rows, err := tx.Query(ctx, sql)
	rows.Close()
	errs["Query"] = err
	errs["QueryRow"] = tx.QueryRow(ctx, sql).Scan(new(int))
	b := &pgx.Batch{}
	b.Queue(sql)
	errs["SendBatch"] = tx.SendBatch(ctx, b).Close()
	_, errs["CopyFrom"] = tx.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"id"}, pgx.CopyFromRows([][]any{{2}}))
	_, errs["Prepare"] = tx.Prepare(ctx, "", sql)
	_, errs["Begin"] = tx.Begin(ctx)
	lo := tx.LargeObjects()
	_, errs["LargeObjects"] = lo.Create(ctx, 0)
	_, errs["Get"] = pgpool.Get[int](ctx, tx, sql)
	_, errs["BatchInsert, few"] = pgpool.BatchInsert(ctx, tx, "t", numbered(3))
	_, errs["BatchInsert, many"] = pgpool.BatchInsert(ctx, tx, "t", numbered(60))
	errs["Commit"] = tx.Commit(ctx)
	errs["Rollback"] = tx.Rollback(ctx)
	return errs
}
