package pgpool_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

var errMine = errors.New("mine")

func newTable(t *testing.T) *pgpool.Pool {
	t.Helper()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create table t (id int primary key, n int not null default 0)")
	return p
}

func ids(t *testing.T, p *pgpool.Pool) []int {
	t.Helper()
	list, err := pgpool.Select[int](t.Context(), p, "select id from t order by id")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func insert(ctx context.Context, q pgpool.Querier, id int) error {
	_, err := q.Exec(ctx, "insert into t (id) values ($1)", id)
	return err
}

func TestTransactionCommits(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	for range 3 { // also with everything prepared
		got, err := pgpool.Transaction(t.Context(), p, func(ctx context.Context, tx pgx.Tx) (int, error) {
			if _, err := tx.Exec(ctx, "insert into t (id) select coalesce(max(id), 0) + 1 from t"); err != nil {
				return 0, err
			}
			return pgpool.Get[int](ctx, tx, "select count(*)::int from t")
		})
		if err != nil {
			t.Fatal(err)
		}
		if list := ids(t, p); len(list) != got {
			t.Errorf("got %d, table has %v", got, list)
		}
	}
	if s := p.Stats(); s.TxCommitted != 3 || s.AcquiredConns != 0 {
		t.Errorf("Stats = %+v", s)
	}
}

func TestTransactionEveryFirstStatement(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	for name, first := range map[string]func(context.Context, pgx.Tx) error{
		"exec simple": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "insert into t values (1)")
			return err
		},
		"exec": func(ctx context.Context, tx pgx.Tx) error { return insert(ctx, tx, 1) },
		"query": func(ctx context.Context, tx pgx.Tx) error {
			_, err := pgpool.Get[int](ctx, tx, "insert into t values (1) returning id")
			return err
		},
		"query row": func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, "insert into t values ($1) returning id", 1).Scan(new(int))
		},
		"batch": func(ctx context.Context, tx pgx.Tx) error {
			var b pgx.Batch
			b.Queue("insert into t values ($1)", 1)
			b.Queue("update t set n = 1")
			return tx.SendBatch(ctx, &b).Close()
		},
		"copy": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"id"}, pgx.CopyFromRows([][]any{{int32(1)}}))
			return err
		},
		"savepoint": func(ctx context.Context, tx pgx.Tx) error {
			return pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return insert(ctx, tx, 1) })
		},
		"prepare": func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Prepare(ctx, "p", "insert into t values ($1)"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "p", 1)
			return errors.Join(err, tx.Conn().Deallocate(ctx, "p"))
		},
		"large object": func(ctx context.Context, tx pgx.Tx) error {
			large := tx.LargeObjects()
			_, err := large.Create(ctx, 0)
			return errors.Join(err, insert(ctx, tx, 1))
		},
	} {
		for _, fail := range []bool{true, false} {
			err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
				if err := first(ctx, tx); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if status := tx.Conn().PgConn().TxStatus(); status != 'T' {
					t.Errorf("%s: status %c, want T", name, status)
				}
				if fail {
					return errMine
				}
				return nil
			})
			if fail != errors.Is(err, errMine) {
				t.Errorf("%s: %v", name, err)
			}
			if n := len(ids(t, p)); fail != (n == 0) {
				t.Errorf("%s: %d rows after fail=%t", name, n, fail)
			}
			mustExec(t, p, "truncate t")
		}
	}
}

func TestTransactionRollsBack(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		if err := insert(ctx, tx, 1); err != nil {
			return err
		}
		return errMine
	})
	if !errors.Is(err, errMine) {
		t.Errorf("got %v, want the function's error", err)
	}

	func() {
		defer func() {
			if v := recover(); v != "boom" {
				t.Errorf("recovered %v, want the panic of the function", v)
			}
		}()
		_ = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			_ = insert(ctx, tx, 1)
			panic("boom")
		})
	}()

	var wg sync.WaitGroup
	wg.Go(func() {
		_ = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			_ = insert(ctx, tx, 1)
			runtime.Goexit()
			return nil
		})
	})
	wg.Wait()

	err = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		_ = insert(ctx, tx, 1)
		_ = insert(ctx, tx, 1) // hidden
		return nil
	})
	if !errors.Is(err, pgx.ErrTxCommitRollback) {
		t.Errorf("hidden error: got %v, want ErrTxCommitRollback", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	err = p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		err := insert(ctx, tx, 1)
		cancel()
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before commit: got %v, want context.Canceled", err)
	}

	if list := ids(t, p); len(list) != 0 {
		t.Errorf("rows %v, want none", list)
	}
	if s := p.Stats(); s.AcquiredConns != 0 || s.TxCommitted != 0 {
		t.Errorf("Stats = %+v", s)
	}
}

func TestTransactionOfNothing(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	before := p.Stats().QueryCount
	ran := false
	err := p.InTx(t.Context(), func(ctx context.Context, _ pgx.Tx) error {
		pgpool.AfterCommit(ctx, func(context.Context) { ran = true })
		return nil
	})
	if err != nil || !ran {
		t.Errorf("got %v, ran %t", err, ran)
	}
	if after := p.Stats().QueryCount; after != before {
		t.Errorf("%d statements were sent, want none", after-before)
	}
}

func TestTransactionFirstStatementFails(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	for _, sql := range []string{"syntax error", "select * from absent", "insert into t values (null)"} {
		for _, args := range [][]any{nil, {pgx.QueryExecModeExec}} {
			err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, sql, args...); err == nil {
					t.Errorf("%s: no error", sql)
				}
				// As in any transaction, what follows a failure is refused.
				err := insert(ctx, tx, 1)
				if pgpool.Code(err) != "25P02" {
					t.Errorf("%s: the next statement gives %v, want 25P02", sql, err)
				}
				return nil
			})
			if !errors.Is(err, pgx.ErrTxCommitRollback) {
				t.Errorf("%s: got %v, want ErrTxCommitRollback", sql, err)
			}
		}
	}
	if list := ids(t, p); len(list) != 0 {
		t.Errorf("rows %v, want none", list)
	}
}

// When BEGIN itself fails, the statement behind it must not run by itself.
func TestTransactionBeginFails(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	mustExec(t, p, "create role nobody_may_take nologin")
	t.Cleanup(func() { _, _ = p.Exec(context.Background(), "drop role nobody_may_take") })
	for _, args := range [][]any{{}, {1}} {
		sql := "insert into t values (1)"
		if len(args) > 0 {
			sql = "insert into t values ($1)"
		}
		err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sql, args...)
			return err
		}, pgpool.Ledger("absent"))
		if pgpool.Code(err) != "42P01" {
			t.Errorf("got %v, want 42P01 for the missing ledger", err)
		}
	}
	if list := ids(t, p); len(list) != 0 {
		t.Errorf("rows %v, want none", list)
	}
	if err := insert(t.Context(), p, 2); err != nil {
		t.Errorf("the pool is not usable any more: %v", err)
	}
}

func TestTransactionIsolation(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	for _, c := range []struct {
		opts            []pgpool.TxOption
		level, readOnly string
	}{
		{nil, "read committed", "off"},
		{[]pgpool.TxOption{pgpool.Isolation(pgx.RepeatableRead)}, "repeatable read", "off"},
		{[]pgpool.TxOption{pgpool.Isolation(pgx.Serializable), pgpool.ReadOnly(), pgpool.Deferrable()}, "serializable", "on"},
	} {
		err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			level, err1 := pgpool.Get[string](ctx, tx, "show transaction_isolation")
			readOnly, err2 := pgpool.Get[string](ctx, tx, "show transaction_read_only")
			if level != c.level || readOnly != c.readOnly {
				t.Errorf("got %s, read only %s, want %s, %s", level, readOnly, c.level, c.readOnly)
			}
			return errors.Join(err1, err2)
		}, c.opts...)
		if err != nil {
			t.Error(err)
		}
	}
	err := p.InTx(t.Context(), func(context.Context, pgx.Tx) error { return nil }, pgpool.Isolation("chaos"))
	if err == nil {
		t.Error("unknown isolation level is accepted")
	}
}

func TestTransactionIsJoined(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		if err := insert(ctx, p, 1); err != nil { // through the pool
			return err
		}
		if n, err := pgpool.Get[int](ctx, p, "select count(*)::int from t"); err != nil || n != 1 {
			t.Errorf("joined Get = %d, %v, want 1", n, err)
		}
		if n, err := pgpool.Get[int](pgpool.Outside(ctx), p, "select count(*)::int from t"); err != nil || n != 0 {
			t.Errorf("Get outside = %d, %v, want 0", n, err)
		}
		rows, err := p.Query(ctx, "select generate_series(1, 10)")
		if err != nil {
			return err
		}
		if err := insert(ctx, tx, 2); !errors.Is(err, pgpool.ErrTxBusy) {
			t.Errorf("use while rows are open = %v, want ErrTxBusy", err)
		}
		rows.Close()
		if err := tx.Commit(ctx); !errors.Is(err, pgpool.ErrTxManaged) {
			t.Errorf("Commit = %v, want ErrTxManaged", err)
		}
		return errMine
	})
	if !errors.Is(err, errMine) {
		t.Error(err)
	}
	if list := ids(t, p); len(list) != 0 {
		t.Errorf("rows %v, want none", list)
	}
}

func TestTransactionAfterItsEnd(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	var kept pgx.Tx
	var keptCtx context.Context
	_ = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		kept, keptCtx = tx, ctx
		return insert(ctx, tx, 1)
	})
	if err := insert(t.Context(), kept, 2); !errors.Is(err, pgx.ErrTxClosed) {
		t.Errorf("tx after its end = %v, want pgx.ErrTxClosed", err)
	}
	if err := insert(keptCtx, p, 3); err != nil {
		t.Errorf("pool with the context of an ended transaction = %v, want it to work", err)
	}
	if list := ids(t, p); len(list) != 2 {
		t.Errorf("rows %v, want 1 3", list)
	}
}

func TestTransactionRetriesConflicts(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	mustExec(t, p, "insert into t values (1, 0)")
	const workers, each = 8, 10
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
					n, err := pgpool.Get[int](ctx, tx, "select n from t where id = 1")
					if err != nil {
						return err
					}
					_, err = tx.Exec(ctx, "update t set n = $1 where id = 1", n+1)
					return err
				}, pgpool.Isolation(pgx.Serializable), pgpool.MaxAttempts(1000))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n, _ := pgpool.Get[int](t.Context(), p, "select n from t"); n != workers*each {
		t.Errorf("n = %d, want %d", n, workers*each)
	}
}

func TestTransactionRetriesHiddenConflict(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	attempts := 0
	err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		if attempts < 3 {
			_, _ = tx.Exec(ctx, "do $$ begin raise exception 'x' using errcode = '40001'; end $$")
			return errMine // says nothing about it
		}
		return insert(ctx, tx, attempts)
	})
	if err != nil || attempts != 3 {
		t.Errorf("got %v after %d attempts, want success at the third", err, attempts)
	}
	attempts = 0
	err = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		_, err := tx.Exec(ctx, "do $$ begin raise exception 'x' using errcode = '40P01'; end $$")
		return err
	}, pgpool.MaxAttempts(2))
	if pgpool.Code(err) != "40P01" || attempts != 2 {
		t.Errorf("got %v after %d attempts, want 40P01 after 2", err, attempts)
	}
}
