package pgpool_test

import (
	"context"
	"database/sql/driver"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

// unreadable panics when it is scanned.
type unreadable struct{}

func (*unreadable) Scan(any) error { panic("boom") }

// TestPanicWhileReading: the panic of a type that scans itself goes on to the
// caller, who may live on; the connection comes back.
func TestPanicWhileReading(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 2, MinConns: -1})
	const sql = "select i from generate_series(1, 10) i"
	panics := func(q pgpool.Querier) {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v, want boom", r)
			}
		}()
		_, err := pgpool.Select[unreadable](t.Context(), q, sql)
		t.Errorf("Select returned, with %v", err)
	}
	for range 5 {
		panics(p)
		panics(p.Replica())
		_ = p.InTx(t.Context(), func(_ context.Context, tx pgx.Tx) error {
			panics(tx)
			if _, err := tx.Exec(t.Context(), "select 1"); err != nil {
				t.Errorf("the next statement of the transaction: %v", err)
			}
			return nil
		})
	}
	if s := p.Stats(); s.AcquiredConns != 0 || s.Opened > 1 {
		t.Errorf("%d connections did not come back, %d were opened; want the same one used on", s.AcquiredConns, s.Opened)
	}
}

// unwritable panics as an argument.
type unwritable struct{}

func (unwritable) Value() (driver.Value, error) { panic("boom") }

// TestPanicWhileWriting: the same with arguments that encode themselves, and with
// a sequence of rows.
func TestPanicWhileWriting(t *testing.T) {
	t.Parallel()
	type row struct{ ID unwritable }
	const sql = "select $1::int"
	p := newPool(t, pgpool.Config{MaxConns: 2, MinConns: -1})
	mustExec(t, p, "create table t (id int)")
	for name, run := range map[string]func(ctx context.Context, q pgpool.Querier){
		"Exec": func(ctx context.Context, q pgpool.Querier) { _, _ = q.Exec(ctx, sql, unwritable{}) },
		"Query": func(ctx context.Context, q pgpool.Querier) {
			rows, _ := q.Query(ctx, sql, unwritable{})
			rows.Close()
		},
		"QueryRow": func(ctx context.Context, q pgpool.Querier) { _ = q.QueryRow(ctx, sql, unwritable{}).Scan() },
		"Select":   func(ctx context.Context, q pgpool.Querier) { _, _ = pgpool.Select[int](ctx, q, sql, unwritable{}) },
		"SendBatch": func(ctx context.Context, q pgpool.Querier) {
			b := &pgx.Batch{}
			b.Queue(sql, unwritable{})
			_ = q.SendBatch(ctx, b).Close()
		},
		"BatchInsert, few":  func(ctx context.Context, q pgpool.Querier) { _, _ = pgpool.BatchInsert(ctx, q, "t", make([]row, 2)) },
		"BatchInsert, many": func(ctx context.Context, q pgpool.Querier) { _, _ = pgpool.BatchInsert(ctx, q, "t", make([]row, 500)) },
		"BatchInsertSeq": func(ctx context.Context, q pgpool.Querier) {
			_, _ = pgpool.BatchInsertSeq(ctx, q, "t", func(func(struct{ ID int }) bool) { panic("boom") })
		},
	} {
		panics := func(where string, q pgpool.Querier) {
			defer func() {
				r := recover()
				if sendsBatch := name == "SendBatch" || name == "BatchInsert, few"; r != "boom" && !sendsBatch || r == nil {
					t.Errorf("%s, %s: recovered %v, want boom", name, where, r) // of a batch pgx panics itself, in between
				}
			}()
			run(t.Context(), q)
		}
		panics("pool", p)
		_ = p.InTx(t.Context(), func(_ context.Context, tx pgx.Tx) error {
			panics("tx", tx)
			return errRollback
		})
		eventually(t, name+": the connections come back", func() bool { return p.Stats().AcquiredConns == 0 })
		if _, err := pgpool.Get[int](t.Context(), p, "select 1"); err != nil {
			t.Errorf("%s: the next query: %v", name, err)
		}
	}
}
