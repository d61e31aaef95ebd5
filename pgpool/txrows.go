package pgpool

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

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
	if r.closed {
		return r.failed()
	}
	return r.Rows.Scan(dest...)
}

// Values implements pgx.Rows.
func (r *txRows) Values() ([]any, error) {
	if r.closed {
		return nil, r.failed()
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
	defer r.tx.leave() // after a panic too: the hooks of the host run here
	r.Rows.Close()
	r.err = r.tx.note(r.ctx, r.Rows.Err())
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

// RawValues implements pgx.Rows.
func (r *txRows) RawValues() [][]byte {
	if r.closed {
		return nil
	}
	return r.Rows.RawValues()
}

// Conn implements pgx.Rows.
func (r *txRows) Conn() *pgx.Conn {
	if r.closed {
		return nil
	}
	return r.Rows.Conn()
}

// failed is the error of a use after the end.
func (r *txRows) failed() error {
	if r.err != nil {
		return r.err
	}
	return errRowsClosed
}
