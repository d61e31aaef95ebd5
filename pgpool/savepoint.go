package pgpool

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
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
	s.w.prefix.drop() // savepoints within this one; in a failed transaction they would take the rollback with them
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
