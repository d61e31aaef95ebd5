package pgpool

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pedro-go/pedro/internal/backoff"
)

type txCounters struct {
	committed, rolledBack, retried, resolved, unknown atomic.Int64
}

// A tx is a transaction on its connection. It implements pgx.Tx.
type tx struct {
	pool *Pool
	node *node
	conn *pgxpool.Conn
	c    *pgx.Conn
	w    *wire
	opts txOptions

	id        string // of the ledger row
	asksEpoch bool   // the answer to BEGIN has the epoch too
	busy      atomic.Bool
	done      atomic.Bool

	// Why the transaction cannot stand any more, whatever fn makes of it.
	lost, conflict, stale bool
	doomed                atomic.Bool // a nested one that failed could not be undone

	savepoints int
	hooksMu    sync.Mutex
	hooks      []func(context.Context)
	large      pgx.Tx // see LargeObjects
}

var _ pgx.Tx = (*tx)(nil)

// enter claims the connection for one statement.
func (t *tx) enter() error {
	if t.done.Load() {
		return pgx.ErrTxClosed
	}
	if !t.busy.CompareAndSwap(false, true) {
		return ErrTxBusy
	}
	if t.done.Load() { // it ended in between
		t.busy.Store(false)
		return pgx.ErrTxClosed
	}
	return nil
}

func (t *tx) leave() { t.busy.Store(false) }

// leaveUnless leaves if sending panicked: arguments may encode themselves.
func (t *tx) leaveUnless(sent *bool) {
	if !*sent {
		t.leave()
	}
}

// note remembers what an error means for the transaction, and explains it.
func (t *tx) note(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case t.c.IsClosed() && ctx.Err() == nil && !t.w.flagged.Load():
		t.lost = true
	case isConflict(err):
		t.conflict = true
	case isStalePlan(err), Code(err) == "26000", Code(err) == "25006" && !t.opts.readOnly && !byWish(t.c.PgConn()):
		t.stale = true
	}
	return t.w.explain(ctx, err)
}

// verdict says whether a transaction that was rolled back, because its function
// returned err, is to be run again. What the server said counts even if the
// function hid it.
func (t *tx) verdict(err error) *backoff.Policy {
	switch {
	case t.conflict || isConflict(err):
		return afterConflict
	case t.lost, t.stale:
		return afterLoss
	default:
		return nil
	}
}

// finish gives the connection back.
func (t *tx) finish() {
	t.done.Store(true)
	t.w.prefix.reset()
	t.w.readOnly = false
	defer t.conn.Release()
	if t.large != nil {
		t.endLarge()
	}
}

// unsent reports whether nothing of the transaction has left yet.
func (t *tx) unsent() bool { return t.c.PgConn().TxStatus() == 'I' && t.w.prefix.pending() }

// rollback ends the transaction. If the server cannot be told, the connection
// is closed, which has the same effect.
func (t *tx) rollback(ctx context.Context) {
	if !t.done.CompareAndSwap(false, true) {
		return
	}
	defer t.finish()
	if t.c.IsClosed() || t.unsent() {
		return
	}
	t.w.prefix.reset()
	t.w.settle()
	if t.c.PgConn().IsBusy() || t.c.PgConn().TxStatus() == 'I' {
		return // rows are still open: the pool closes such a connection
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := t.c.Exec(ctx, "rollback"); err != nil {
		_ = t.c.Close(ctx)
	}
}

// Exec implements pgx.Tx.
func (t *tx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := t.enter(); err != nil {
		return pgconn.CommandTag{}, err
	}
	defer t.leave()
	tag, err := t.c.Exec(ctx, sql, args...)
	return tag, t.note(ctx, err)
}

// Query implements pgx.Tx.
func (t *tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := t.enter(); err != nil {
		return &txRows{closed: true, err: err}, err
	}
	sent := false
	defer t.leaveUnless(&sent)
	rows, err := t.c.Query(ctx, sql, args...)
	sent = true
	r := &txRows{Rows: rows, ctx: ctx, tx: t}
	if err != nil {
		r.Close()
		return r, r.err
	}
	return r, nil
}

// QueryRow implements pgx.Tx.
func (t *tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, _ := t.Query(ctx, sql, args...) // by Scan, as pgx.Row demands
	return poolRow{rows}
}

func (t *tx) read(ctx context.Context, sql string, args []any, into result) error {
	if err := t.enter(); err != nil {
		return err
	}
	defer t.leave()
	rows, _ := t.c.Query(ctx, sql, args...)
	defer rows.Close() // if that panics
	err := into.take(rows)
	rows.Close()
	if rowsErr := rows.Err(); rowsErr != nil {
		return t.note(ctx, rowsErr)
	}
	return err
}

// SendBatch implements pgx.Tx.
func (t *tx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := t.enter(); err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	sent := false
	defer t.leaveUnless(&sent)
	results := t.c.SendBatch(ctx, b)
	sent = true
	return &batchResults{BatchResults: results, end: func(err error) error {
		defer t.leave()
		return t.note(ctx, err)
	}}
}

// CopyFrom implements pgx.Tx.
func (t *tx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	if rows == nil {
		return 0, errNilSource
	}
	if err := t.enter(); err != nil {
		return 0, err
	}
	defer t.leave()
	source := &copySource{CopyFromSource: rows, wire: t.w}
	n, err := t.c.CopyFrom(ctx, table, columns, source)
	return n, source.outcome(t.note(ctx, err))
}

// Prepare implements pgx.Tx.
func (t *tx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.leave()
	t.w.settle()
	sd, err := t.c.Prepare(ctx, name, sql)
	return sd, t.note(ctx, err)
}

// LargeObjects implements pgx.Tx. The first call takes a round trip, and so does
// the end of the transaction: only pgx itself can make a pgx.LargeObjects, from a
// transaction that it began.
func (t *tx) LargeObjects() pgx.LargeObjects {
	if t.large == nil && t.enter() == nil {
		inner, err := t.c.BeginTx(context.Background(), pgx.TxOptions{BeginQuery: "select", CommitQuery: "select"})
		t.leave()
		if err == nil {
			t.large = inner
		}
	}
	if t.large == nil {
		return closedLargeObjects()
	}
	return t.large.LargeObjects()
}

// endLarge ends pgx's idea of the transaction: who kept its LargeObjects would
// otherwise use a connection that is somebody else's by then.
func (t *tx) endLarge() {
	if t.c.PgConn().TxStatus() != 'I' || t.c.IsClosed() {
		return // the pool does not keep such a connection
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = t.large.Commit(ctx) // closed in any case
}

func closedLargeObjects() pgx.LargeObjects {
	b := &pgx.Batch{}
	b.BeginTx(pgx.TxOptions{})
	return pgx.FailedBatchResults(b, pgx.ErrTxClosed).Tx().LargeObjects()
}

// Conn implements pgx.Tx. What runs on the connection directly is part of the
// transaction; it must not end it.
func (t *tx) Conn() *pgx.Conn { return t.c }

// Commit implements pgx.Tx: it refuses, as Transaction does this.
func (t *tx) Commit(context.Context) error { return ErrTxManaged }

// Rollback implements pgx.Tx: it refuses. Return an error instead.
func (t *tx) Rollback(context.Context) error {
	if t.done.Load() {
		return pgx.ErrTxClosed
	}
	return ErrTxManaged
}

// Begin implements pgx.Tx: a savepoint, to be ended by its Commit or Rollback.
func (t *tx) Begin(ctx context.Context) (pgx.Tx, error) { return t.savepoint(ctx) }
