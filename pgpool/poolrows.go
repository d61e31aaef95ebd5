package pgpool

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// poolRows are open rows of a pool's query. The connection goes back when they
// are closed.
type poolRows struct {
	pgx.Rows // nil if there never were any

	ctx    context.Context //nolint:containedctx // of the query, for as long as its rows are open
	run    run
	primed bool // the first Next has been done
	more   bool // and found a row
	closed bool
	fields []pgconn.FieldDescription // if there were no rows
	err    error
}

// Next implements pgx.Rows.
func (r *poolRows) Next() bool {
	switch {
	case r.Rows == nil || r.closed:
		return false
	case r.primed:
		r.primed = false
	default:
		r.more = r.Rows.Next()
	}
	if !r.more {
		r.Close()
	}
	return r.more
}

// Scan implements pgx.Rows.
func (r *poolRows) Scan(dest ...any) error {
	if r.Rows == nil || r.closed {
		return r.failed()
	}
	err := r.Rows.Scan(dest...)
	if err != nil {
		r.Close()
	}
	return err
}

// Values implements pgx.Rows.
func (r *poolRows) Values() ([]any, error) {
	if r.Rows == nil || r.closed {
		return nil, r.failed()
	}
	values, err := r.Rows.Values()
	if err != nil {
		r.Close()
	}
	return values, err
}

// Err implements pgx.Rows.
func (r *poolRows) Err() error {
	if r.Rows == nil || r.closed || r.err != nil {
		return r.err
	}
	return r.Rows.Err()
}

// Close implements pgx.Rows.
func (r *poolRows) Close() {
	if r.Rows == nil || r.closed {
		return
	}
	r.closed = true
	if _, err := r.run.close(r.ctx, r.Rows, true); r.err == nil {
		r.err = err
	}
}

// CommandTag implements pgx.Rows.
func (r *poolRows) CommandTag() pgconn.CommandTag {
	if r.Rows == nil {
		return pgconn.CommandTag{}
	}
	return r.Rows.CommandTag()
}

// FieldDescriptions implements pgx.Rows.
func (r *poolRows) FieldDescriptions() []pgconn.FieldDescription {
	if r.Rows == nil || r.closed {
		return r.fields // after an error there may be none, and pgx would panic
	}
	return r.Rows.FieldDescriptions()
}

// RawValues implements pgx.Rows.
func (r *poolRows) RawValues() [][]byte {
	if r.Rows == nil || r.closed {
		return nil
	}
	return r.Rows.RawValues()
}

// Conn implements pgx.Rows.
func (r *poolRows) Conn() *pgx.Conn {
	if r.Rows == nil || r.closed {
		return nil // it is somebody else's by now
	}
	return r.Rows.Conn()
}

// failed is the error of a use after the end.
func (r *poolRows) failed() error {
	if r.err != nil {
		return r.err
	}
	return errRowsClosed
}

var errRowsClosed = errors.New("pgpool: rows are closed")

// poolRow is the pgx.Row over rows.
type poolRow struct{ rows pgx.Rows }

// Scan implements pgx.Row.
func (r poolRow) Scan(dest ...any) error {
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}
