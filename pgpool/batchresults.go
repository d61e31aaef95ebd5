package pgpool

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var errBatchTx = errors.New("pgpool: Batch.BeginTx is not for a pool or a transaction of one; use Transaction")

// sendBatch sends a batch on a connection of its own.
func (n *node) sendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	conn, err := n.acquire(ctx)
	if err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	sent := false
	defer func() {
		if !sent { // a panic: arguments may encode themselves
			conn.Release()
		}
	}()
	results := conn.Conn().SendBatch(ctx, b)
	sent = true
	if results.Tx() != nil {
		_ = results.Close()
		_ = conn.Conn().Close(ctx) // it may be in a transaction
		conn.Release()
		return pgx.FailedBatchResults(&pgx.Batch{}, errBatchTx)
	}
	return &batchResults{BatchResults: results, end: func(err error) error {
		defer conn.Release()
		if err = wireOf(conn.Conn()).explain(ctx, err); err == nil {
			n.noteWrite(ctx, conn.Conn())
		}
		return err
	}}
}

// copyFrom copies on a connection of its own.
func (n *node) copyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	if rows == nil {
		return 0, errNilSource
	}
	conn, err := n.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	w := wireOf(conn.Conn())
	source := &copySource{CopyFromSource: rows, wire: w}
	count, err := conn.Conn().CopyFrom(ctx, table, columns, source)
	if err := source.outcome(w.explain(ctx, err)); err != nil {
		return count, err
	}
	n.noteWrite(ctx, conn.Conn())
	return count, nil
}

var errBatchCut = errors.New("pgpool: the reading of a batch was cut short")

// batchResults are results that give something back when they are closed.
type batchResults struct {
	pgx.BatchResults

	end    func(error) error
	closed atomic.Bool
	err    error
}

// Close implements pgx.BatchResults.
func (b *batchResults) Close() (err error) {
	if !b.closed.CompareAndSwap(false, true) {
		return b.err // the connection is somebody else's by now
	}
	err = errBatchCut
	defer func() { // after a panic too: pgx calls the functions of queued statements
		b.err = b.end(err)
		err = b.err
	}()
	err = b.BatchResults.Close()
	return err
}

// Query implements pgx.BatchResults.
func (b *batchResults) Query() (pgx.Rows, error) {
	if b.closed.Load() {
		return &poolRows{err: errRowsClosed}, errRowsClosed
	}
	return b.BatchResults.Query()
}

// Exec implements pgx.BatchResults.
func (b *batchResults) Exec() (pgconn.CommandTag, error) {
	if b.closed.Load() {
		return pgconn.CommandTag{}, errRowsClosed
	}
	return b.BatchResults.Exec()
}
