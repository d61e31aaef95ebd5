package pgpool_test

import (
	"context"
	"database/sql/driver"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
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

// TestPanicLeavesNoConnection: whatever of the caller's panics in between, its
// connection comes back and the transaction goes on.
func TestPanicLeavesNoConnection(t *testing.T) {
	t.Parallel()
	type out struct{ ID unreadable }
	for name, run := range map[string]func(ctx context.Context, p *pgpool.Pool){
		"Select by pgx": func(ctx context.Context, p *pgpool.Pool) {
			_, _ = pgpool.Select[unreadable](ctx, p.Pgx(), "select 1")
		},
		"returned, few": func(ctx context.Context, p *pgpool.Pool) {
			_, _ = pgpool.BatchInsertReturning[idRow, out](ctx, p, "t", numbered(3))
		},
		"returned, many": func(ctx context.Context, p *pgpool.Pool) {
			_, _ = pgpool.BatchInsertReturning[idRow, out](ctx, p, "t", numbered(60))
		},
		"of a batch": func(ctx context.Context, p *pgpool.Pool) {
			b := &pgx.Batch{}
			b.Queue("select 1").QueryRow(func(pgx.Row) error { panic("boom") })
			_ = p.SendBatch(ctx, b).Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, pgpool.Config{MaxConns: 2, MinConns: -1})
			mustExec(t, p, "create table t (id int)")
			if v := recovered(func() { run(t.Context(), p) }); v != "boom" {
				t.Errorf("recovered %v, want boom", v)
			}
			eventually(t, "the connection comes back", func() bool { return p.Stats().AcquiredConns == 0 })
			if n := count(t, p, "t"); n != 0 {
				t.Errorf("%d rows are stored", n)
			}
		})
	}
}

// recovered returns what f panics with.
func recovered(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// TestPanicInSlowQueryHook: it goes on to who ran the statement, and the
// connection comes back. For one that still runs it is nobody's, and logged.
func TestPanicInSlowQueryHook(t *testing.T) {
	t.Parallel()
	const slow = "select 1 from pg_sleep(0.05)"
	for name, run := range map[string]func(ctx context.Context, p *pgpool.Pool){
		"no rows":  func(ctx context.Context, p *pgpool.Pool) { rows, _ := p.Query(ctx, slow+" offset 1"); rows.Close() },
		"Close":    func(ctx context.Context, p *pgpool.Pool) { rows, _ := p.Query(ctx, slow); rows.Close() },
		"QueryRow": func(ctx context.Context, p *pgpool.Pool) { _ = p.QueryRow(ctx, slow).Scan(new(int)) },
		"Select":   func(ctx context.Context, p *pgpool.Pool) { _, _ = pgpool.Select[int](ctx, p, slow) },
		"Exec":     func(ctx context.Context, p *pgpool.Pool) { _, _ = p.Exec(ctx, slow) },
		"SendBatch": func(ctx context.Context, p *pgpool.Pool) {
			b := &pgx.Batch{}
			b.Queue(slow)
			_ = p.SendBatch(ctx, b).Close()
		},
		"transaction": func(ctx context.Context, p *pgpool.Pool) {
			_ = p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
				v := recovered(func() { rows, _ := tx.Query(ctx, slow); rows.Close() })
				if _, err := tx.Exec(ctx, "select 1"); err != nil {
					panic(err)
				}
				panic(v)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var armed atomic.Bool
			cfg := pgpool.Config{MaxConns: 2, MinConns: -1, SlowQuery: 10 * time.Millisecond}
			p := newPool(t, cfg, pgpool.WithSlowQuery(func(pgpool.SlowQuery) {
				if armed.Load() {
					panic("boom")
				}
			}))
			armed.Store(true)
			if v := recovered(func() { run(t.Context(), p) }); v != "boom" {
				t.Errorf("recovered %v, want boom", v)
			}
			armed.Store(false)
			eventually(t, "the connection comes back", func() bool { return p.Stats().AcquiredConns == 0 })
		})
	}
}

// TestPanicLeavesNoLoad: a read that panics does not count as a replica's load for
// ever.
func TestPanicLeavesNoLoad(t *testing.T) {
	t.Parallel()
	url := pgpooltest.Start(t)
	p := newPool(t, pgpool.Config{URL: url, ReplicaURLs: []string{url}})
	eventually(t, "the replica is in use", func() bool { return p.Stats().Replicas[0].Healthy })
	for name, run := range map[string]func(q pgpool.Querier){
		"Select": func(q pgpool.Querier) { _, _ = pgpool.Select[unreadable](t.Context(), q, "select 1") },
		"Exec":   func(q pgpool.Querier) { _, _ = q.Exec(t.Context(), "select $1::int", unwritable{}) },
		"Query":  func(q pgpool.Querier) { rows, _ := q.Query(t.Context(), "select $1::int", unwritable{}); rows.Close() },
	} {
		if v := recovered(func() { run(p.Replica()) }); v != "boom" {
			t.Errorf("%s: recovered %v, want boom", name, v)
		}
	}
	if s := p.Stats(); p.ReplicaReads() != 0 || s.ReplicaFallbacks != 0 {
		t.Errorf("%d reads run, %d fell back to the primary, want none", p.ReplicaReads(), s.ReplicaFallbacks)
	}
}
