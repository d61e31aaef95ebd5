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
		if err = wireOf(conn.Conn()).explain(ctx, err); err == nil {
			n.noteWrite(ctx, conn.Conn())
		}
		conn.Release()
		return err
	}}
}

// copyFrom copies on a connection of its own.
func (n *node) copyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	conn, err := n.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	count, err := conn.Conn().CopyFrom(ctx, table, columns, rows)
	if err != nil {
		return count, wireOf(conn.Conn()).explain(ctx, err)
	}
	n.noteWrite(ctx, conn.Conn())
	return count, nil
}

// batchResults are results that give something back when they are closed.
type batchResults struct {
	pgx.BatchResults

	end    func(error) error
	closed atomic.Bool
	err    error
}

// Close implements pgx.BatchResults.
func (b *batchResults) Close() error {
	err := b.BatchResults.Close()
	if b.closed.CompareAndSwap(false, true) {
		b.err = b.end(err)
	}
	return b.err
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
