package pgpool

import "fmt"

// A BatchOption changes how rows are inserted.
type BatchOption func(*batch)

// OnConflictDoNothing leaves out rows that conflict with existing ones, or with
// earlier ones of the batch: on the unique constraint over these columns, or
// any if none are given.
func OnConflictDoNothing(columns ...string) BatchOption {
	return func(b *batch) { b.conflict, b.keys = "nothing", columns }
}

// OnConflictUpdate updates existing rows with the same values in these columns,
// over which a unique constraint must exist: all other columns of the batch are
// set. Of several rows with the same key in a batch the last one counts; with a
// key that is not a column of the batch, many rows may not have the same one.
func OnConflictUpdate(keys ...string) BatchOption {
	return func(b *batch) { b.conflict, b.keys = "update", keys }
}

// Omit leaves columns out, so that the table's defaults apply: an id that a
// sequence assigns, a time of creation.
func Omit(columns ...string) BatchOption {
	return func(b *batch) { b.omit = append(b.omit, columns...) }
}

// Returning names the columns that BatchInsertReturning returns; without it,
// they are the fields of R.
func Returning(columns ...string) BatchOption {
	return func(b *batch) { b.returning = columns }
}

// WithProgress has f told how many rows have been sent, about every percent or
// every 1000 rows, and at the end. total is -1 for a sequence. f runs on
// another goroutine, one call after the other, and delays the insert. What was
// sent is not yet committed.
func WithProgress(f func(done, total int)) BatchOption { return func(b *batch) { b.progress = f } }

// A RowError is a row that could not be inserted. Nothing was. Of rows that go by a
// temporary table (see BatchInsert) the server does not tell which one it refused.
type RowError struct {
	Row    int    // its index, from 0
	Column string // the column at fault, "" if unknown
	Err    error
}

// Error names row and column.
func (e *RowError) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("pgpool: batch insert: row %d: %v", e.Row, e.Err)
	}
	return fmt.Sprintf("pgpool: batch insert: row %d, column %q: %v", e.Row, e.Column, e.Err)
}

// Unwrap returns the cause, such as a *pgconn.PgError.
func (e *RowError) Unwrap() error { return e.Err }
