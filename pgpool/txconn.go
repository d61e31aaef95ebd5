package pgpool

import (
	"context"
	"fmt"
	"strconv"
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

	savepoints int
	hooksMu    sync.Mutex
	hooks      []func(context.Context)
	large      *pgx.LargeObjects
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
	if t.w.flagged.Load() {
		t.w.settle()
	}
	return nil
}

func (t *tx) leave() { t.busy.Store(false) }

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
	case isStalePlan(err), Code(err) == "26000", Code(err) == "25006" && !t.opts.readOnly:
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
	t.conn.Release()
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
	rows, err := t.c.Query(ctx, sql, args...)
	r := &txRows{Rows: rows, ctx: ctx, tx: t}
	if err != nil {
		r.Close()
		return r, r.err
	}
	return r, nil
}

// QueryRow implements pgx.Tx.
func (t *tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, _ := t.Query(ctx, sql, args...) //nolint:sqlclosecheck,rowserrcheck // by Scan, as pgx.Row demands
	return poolRow{rows}
}

func (t *tx) read(ctx context.Context, sql string, args []any, each func(pgx.Rows) error) error {
	if err := t.enter(); err != nil {
		return err
	}
	defer t.leave()
	rows, _ := t.c.Query(ctx, sql, args...)
	err := each(rows)
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
	results := t.c.SendBatch(ctx, b)
	return &batchResults{BatchResults: results, end: func(err error) error {
		defer t.leave()
		return t.note(ctx, err)
	}}
}

// CopyFrom implements pgx.Tx.
func (t *tx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	if err := t.enter(); err != nil {
		return 0, err
	}
	defer t.leave()
	n, err := t.c.CopyFrom(ctx, table, columns, rows)
	return n, t.note(ctx, err)
}

// Prepare implements pgx.Tx.
func (t *tx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.leave()
	sd, err := t.c.Prepare(ctx, name, sql)
	return sd, t.note(ctx, err)
}

// LargeObjects implements pgx.Tx. The first call takes a round trip: only pgx
// itself can make a pgx.LargeObjects, from a transaction that it began.
func (t *tx) LargeObjects() pgx.LargeObjects {
	if t.large == nil {
		if t.enter() == nil {
			inner, err := t.c.BeginTx(context.Background(), pgx.TxOptions{BeginQuery: "select"})
			t.leave()
			if err == nil {
				large := inner.LargeObjects()
				t.large = &large
			}
		}
		if t.large == nil {
			large := pgx.FailedBatchResults(beginBatch(), pgx.ErrTxClosed).Tx().LargeObjects()
			return large
		}
	}
	return *t.large
}

func beginBatch() *pgx.Batch {
	b := &pgx.Batch{}
	b.BeginTx(pgx.TxOptions{})
	return b
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

func (t *tx) savepoint(context.Context) (*savepoint, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.leave()
	t.savepoints++
	name := "pgpool_" + strconv.Itoa(t.savepoints)
	t.hooksMu.Lock()
	hooks := len(t.hooks)
	t.hooksMu.Unlock()
	at := t.w.prefix.add(stmt{sql: "savepoint " + name})
	return &savepoint{tx: t, name: name, at: at, runs: t.w.runs.Load(), hooks: hooks}, nil
}

// A savepoint is a nested transaction. Like BEGIN, it is sent with the next
// statement, and so is its release.
type savepoint struct {
	*tx

	name    string
	at      int    // where in the prefix it waits to be sent
	runs    uint64 // what had been sent before
	hooks   int    // AfterCommit functions from before
	managed bool   // nested Transaction, which ends it itself
	ended   bool
}

func (s *savepoint) release(context.Context) error {
	if s.ended {
		return pgx.ErrTxClosed
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.ended = true
	if s.w.runs.Load() == s.runs {
		s.w.prefix.truncate(s.at) // never sent
		return nil
	}
	if s.c.PgConn().TxStatus() == 'E' {
		return pgx.ErrTxCommitRollback
	}
	s.w.prefix.add(stmt{sql: "release savepoint " + s.name})
	return nil
}

func (s *savepoint) back(ctx context.Context) error {
	if s.ended {
		return pgx.ErrTxClosed
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.ended = true
	s.hooksMu.Lock()
	s.tx.hooks = s.tx.hooks[:min(s.hooks, len(s.tx.hooks))]
	s.hooksMu.Unlock()
	if s.w.runs.Load() == s.runs {
		s.w.prefix.truncate(s.at)
		return nil
	}
	if s.lost {
		return nil // the whole transaction is gone
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := s.c.Exec(ctx, "rollback to savepoint "+s.name); err != nil {
		return s.note(ctx, fmt.Errorf("pgpool: rollback to savepoint: %w", err))
	}
	return nil
}

// Commit implements pgx.Tx.
func (s *savepoint) Commit(ctx context.Context) error {
	if s.managed {
		return ErrTxManaged
	}
	return s.release(ctx)
}

// Rollback implements pgx.Tx.
func (s *savepoint) Rollback(ctx context.Context) error {
	if s.managed && !s.ended {
		return ErrTxManaged
	}
	return s.back(ctx)
}

// txRows are open rows of a transaction's query.
type txRows struct {
	pgx.Rows

	ctx    context.Context //nolint:containedctx // of the query, for as long as its rows are open
	tx     *tx
	closed bool
	err    error
}

// Next implements pgx.Rows.
func (r *txRows) Next() bool {
	if r.closed {
		return false
	}
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Scan implements pgx.Rows.
func (r *txRows) Scan(dest ...any) error {
	if r.Rows == nil {
		return r.err
	}
	return r.Rows.Scan(dest...)
}

// Values implements pgx.Rows.
func (r *txRows) Values() ([]any, error) {
	if r.Rows == nil {
		return nil, r.err
	}
	return r.Rows.Values()
}

// Err implements pgx.Rows.
func (r *txRows) Err() error {
	if r.closed {
		return r.err
	}
	return r.Rows.Err()
}

// Close implements pgx.Rows.
func (r *txRows) Close() {
	if r.closed {
		return
	}
	r.closed = true
	r.Rows.Close()
	r.err = r.tx.note(r.ctx, r.Rows.Err())
	r.tx.leave()
}

// CommandTag implements pgx.Rows.
func (r *txRows) CommandTag() pgconn.CommandTag {
	if r.Rows == nil {
		return pgconn.CommandTag{}
	}
	return r.Rows.CommandTag()
}

// FieldDescriptions implements pgx.Rows.
func (r *txRows) FieldDescriptions() []pgconn.FieldDescription {
	if r.closed {
		return nil
	}
	return r.Rows.FieldDescriptions()
}
