package pgpool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

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
	parent  *savepoint
	ended   atomic.Bool
}

// open reports by ErrTxClosed that the savepoint has ended, or one around it. The
// connection is still that of the transaction: what ran on it would belong to
// the outer one.
func (s *savepoint) open() error {
	for at := s; at != nil; at = at.parent {
		if at.ended.Load() {
			return pgx.ErrTxClosed
		}
	}
	return nil
}

func (s *savepoint) release(context.Context) error {
	if err := s.open(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.ended.Store(true)
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
	if err := s.open(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.ended.Store(true)
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
	s.w.prefix.drop() // savepoints within this one; in a failed transaction they would take the rollback with them
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := s.c.Exec(ctx, "rollback to savepoint "+s.name); err != nil {
		return s.note(ctx, fmt.Errorf("pgpool: rollback to savepoint: %w", err))
	}
	return nil
}

// undo is back for a nested Transaction. If that cannot be done, because rows are
// open or a goroutine is still at it, what it wrote must not be committed by
// the outer one.
func (s *savepoint) undo(ctx context.Context) error {
	err := s.back(ctx)
	if err == nil || errors.Is(err, pgx.ErrTxClosed) {
		return nil
	}
	s.doomed.Store(true)
	return err
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
	if s.managed && !s.ended.Load() {
		return ErrTxManaged
	}
	return s.back(ctx)
}

// Begin implements pgx.Tx.
func (s *savepoint) Begin(ctx context.Context) (pgx.Tx, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	inner, err := s.savepoint(ctx)
	if err != nil {
		return nil, err
	}
	inner.parent = s
	return inner, nil
}

// Exec implements pgx.Tx.
func (s *savepoint) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := s.open(); err != nil {
		return pgconn.CommandTag{}, err
	}
	return s.tx.Exec(ctx, sql, args...)
}

// Query implements pgx.Tx.
func (s *savepoint) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := s.open(); err != nil {
		return &txRows{closed: true, err: err}, err
	}
	return s.tx.Query(ctx, sql, args...)
}

// QueryRow implements pgx.Tx.
func (s *savepoint) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, _ := s.Query(ctx, sql, args...) // by Scan, as pgx.Row demands
	return poolRow{rows}
}

func (s *savepoint) read(ctx context.Context, sql string, args []any, into result) error {
	if err := s.open(); err != nil {
		return err
	}
	return s.tx.read(ctx, sql, args, into)
}

// SendBatch implements pgx.Tx.
func (s *savepoint) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := s.open(); err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	return s.tx.SendBatch(ctx, b)
}

// CopyFrom implements pgx.Tx.
func (s *savepoint) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	if err := s.open(); err != nil {
		return 0, err
	}
	return s.tx.CopyFrom(ctx, table, columns, rows)
}

func (s *savepoint) with(ctx context.Context, f func(context.Context, *pgx.Conn) (int64, error)) (int64, error) {
	if err := s.open(); err != nil {
		return 0, err
	}
	return s.tx.with(ctx, f)
}

// Prepare implements pgx.Tx.
func (s *savepoint) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	return s.tx.Prepare(ctx, name, sql)
}

// LargeObjects implements pgx.Tx. They are those of the transaction.
func (s *savepoint) LargeObjects() pgx.LargeObjects {
	if s.open() != nil {
		return closedLargeObjects()
	}
	return s.tx.LargeObjects()
}
