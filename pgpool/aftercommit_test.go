package pgpool_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

func TestAfterCommit(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	ran := 0
	count := func(context.Context) { ran++ }
	pgpool.AfterCommit(t.Context(), count)
	if ran != 1 {
		t.Error("outside of a transaction it does not run at once")
	}
	attempts := 0
	err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		pgpool.AfterCommit(ctx, count)
		if err := insert(ctx, tx, attempts); err != nil || ran != 1 {
			t.Errorf("ran %d, %v", ran, err)
		}
		if attempts == 1 {
			_, err := tx.Exec(ctx, "do $$ begin raise exception 'x' using errcode = '40001'; end $$")
			return err
		}
		return nil
	})
	if err != nil || attempts != 2 || ran != 2 {
		t.Errorf("got %v, attempts %d, ran %d, want 2 and 2", err, attempts, ran)
	}
	_ = p.InTx(t.Context(), func(ctx context.Context, _ pgx.Tx) error {
		pgpool.AfterCommit(ctx, count)
		return errMine
	})
	if ran != 2 {
		t.Error("it ran after a rollback")
	}
	func() {
		defer func() { _ = recover() }()
		_ = p.InTx(t.Context(), func(ctx context.Context, _ pgx.Tx) error {
			pgpool.AfterCommit(ctx, func(context.Context) { panic("boom") })
			pgpool.AfterCommit(ctx, count)
			return nil
		})
	}()
	if ran != 3 {
		t.Error("a panic kept the next function from running")
	}
}
