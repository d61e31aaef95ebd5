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
