package pgpool

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// BatchInsert inserts rows into a table and returns how many were inserted or
// updated: all of them, or none and an error. The table's name may have a
// schema.
//
// T is a struct, or a pointer to one, whose fields are the columns, as for
// Select: by `db` tag, or else by name in snake case. Omit leaves columns to
// their defaults.
//
// Few rows go as one pipeline of INSERTs, many by COPY. With a conflict option,
// WithClaims, a view, or strings for a type other than text, many go by COPY into a
// temporary table and one INSERT from there. PostgreSQL refuses to COPY into a
// table whose row-level security applies to the pool's own role. A value that does
// not fit gives a *RowError, as long as it is known which row it is of: if the
// INSERT from the temporary table fails, the error is the server's. Of rows with
// the same key the last one counts with OnConflictUpdate; few rows count and return
// each. The statement and query timeouts apply to the whole of it.
//
// With a Pool it is one transaction, which joins that of ctx, if any. With a
// pgx.Tx it is a part of that.
func BatchInsert[T any](ctx context.Context, q Querier, table string, rows []T, opts ...BatchOption) (int64, error) {
	b, err := newBatch[T](table, opts)
	if err != nil {
		return 0, err
	}
	b.total = len(rows)
	b.next, b.stop = sliceSource(rows)
	return b.insert(ctx, q)
}

// BatchInsertSeq is BatchInsert for rows that come one by one, in constant
// memory. The sequence is read on another goroutine, and only once; if the
// insert fails it is not read to its end. The call returns only when the sequence
// has: one that blocks must heed ctx itself. A pointer may be to the same struct
// each time; what is behind its fields, such as a slice, must not be.
func BatchInsertSeq[T any](ctx context.Context, q Querier, table string, rows iter.Seq[T], opts ...BatchOption) (int64, error) {
	b, err := newBatch[T](table, opts)
	if err != nil {
		return 0, err
	}
	b.total = -1
	b.next, b.stop = seqSource(rows)
	return b.insert(ctx, q)
}

// BatchInsertReturning is BatchInsert with a RETURNING clause: it returns what
// the inserted or updated rows became, in the order of rows. R is a struct, of
// which each field is a column of the table, or the type of the one column that
// Returning names. Rows that OnConflictDoNothing left out are missing.
func BatchInsertReturning[T, R any](ctx context.Context, q Querier, table string, rows []T, opts ...BatchOption) ([]R, error) {
	b, err := newBatch[T](table, opts)
	if err != nil {
		return nil, err
	}
	if err := b.returns(reflect.TypeFor[R]()); err != nil {
		return nil, err
	}
	list := []R{}
	b.collect = func(rows pgx.Rows) (err error) {
		list, err = scanAll(rows, list)
		return err
	}
	b.total = len(rows)
	b.next, b.stop = sliceSource(rows)
	if _, err := b.insert(ctx, q); err != nil {
		return nil, err
	}
	return list, nil
}

// fewRows is up to where single INSERTs, pipelined, beat COPY, which takes more
// round trips.
const fewRows = 50

// A batch is one BatchInsert.
type batch struct {
	table     pgx.Identifier
	fields    []field
	columns   []string
	conflict  string // "", "nothing", "update"
	keys      []string
	omit      []string
	returning []string
	collect   func(pgx.Rows) error
	progress  func(done, total int)
	asText    map[string]string // columns that are copied as text, and their types

	total int // -1: unknown
	next  func() (reflect.Value, bool)
	stop  func()
}

func newBatch[T any](table string, opts []BatchOption) (*batch, error) {
	typ := reflect.TypeFor[T]()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	s := shapeOf(typ)
	if !s.isRow() {
		return nil, fmt.Errorf("pgpool: batch insert: rows must be structs, not %v", typ)
	}
	b := &batch{table: tableOf(table)}
	if len(b.table) == 0 {
		return nil, fmt.Errorf("pgpool: batch insert: %w", errNoTable)
	}
	for _, opt := range opts {
		if opt != nil {
			opt(b)
		}
	}
	for _, f := range s.fields {
		if !slices.ContainsFunc(b.omit, func(name string) bool { return fold(name) == fold(f.column) }) {
			b.fields = append(b.fields, f)
			b.columns = append(b.columns, f.column)
		}
	}
	if len(b.fields) == 0 {
		return nil, fmt.Errorf("pgpool: batch insert: %v has no columns", typ)
	}
	if b.conflict == "update" && len(b.keys) == 0 {
		return nil, errors.New("pgpool: batch insert: OnConflictUpdate needs the columns of a unique constraint")
	}
	for _, column := range b.omit {
		if _, ok := s.byName[fold(column)]; !ok {
			return nil, fmt.Errorf("pgpool: batch insert: Omit(%q): %v has no such column", column, typ)
		}
	}
	return b, nil
}

// returns derives the RETURNING clause from the type of its rows.
func (b *batch) returns(typ reflect.Type) error {
	if len(b.returning) > 0 {
		return nil
	}
	s := shapeOf(typ)
	if !s.isRow() {
		return fmt.Errorf("pgpool: batch insert: to return %v, name its column with Returning", typ)
	}
	for _, f := range s.fields {
		b.returning = append(b.returning, f.column)
	}
	return nil
}

// insert chooses the way.
func (b *batch) insert(ctx context.Context, q Querier) (count int64, err error) {
	defer b.stop()
	few, more := b.take(fewRows)
	switch {
	case len(few) == 0 && !more:
		return 0, nil
	case !more:
		count, err := b.few(ctx, q, few)
		if _, unsent := errors.AsType[pgx.ErrPreprocessingBatch](err); !unsent || Code(err) != "" {
			return count, err
		}
		// pgx could not encode a value and does not say of which row. Nothing
		// was sent; our own encoder says it.
	}
	b.unread(few)
	if b.conflict == "" && b.collect == nil && !claimed(ctx, q) {
		count, err := b.onConn(ctx, q, func(ctx context.Context, c *pgx.Conn) (int64, error) { return b.copy(ctx, c, b.table, false) })
		if !errors.Is(err, errStaged) {
			return count, err
		}
	}
	return b.staged(ctx, q)
}

// few inserts few rows. If they are returned, what goes wrong with reading them
// must undo the insert: then the statements are not a transaction by themselves.
func (b *batch) few(ctx context.Context, q Querier, rows []reflect.Value) (count int64, err error) {
	if b.collect == nil {
		return b.pipeline(ctx, q, rows)
	}
	err = inTx(ctx, q, func(ctx context.Context, tx Querier) error {
		count, err = b.pipeline(ctx, tx, rows)
		return err
	})
	switch {
	case errors.Is(err, errCannotBegin):
		return b.pipeline(ctx, q, rows) // the Querier is the host's own
	case err != nil:
		return 0, b.explain(err, -1)
	}
	return count, nil
}

// pipeline sends one INSERT a row, all at once and in one transaction.
func (b *batch) pipeline(ctx context.Context, q Querier, rows []reflect.Value) (int64, error) {
	sql := b.insertSQL(b.placeholders())
	var queued pgx.Batch
	for i, row := range rows {
		args, err := b.args(i, row)
		if err != nil {
			return 0, err
		}
		queued.Queue(sql, args...)
	}
	results := q.SendBatch(ctx, &queued)
	defer func() { _ = results.Close() }() // if reading what is returned panics
	var count int64
	for i := range rows {
		n, err := b.result(results)
		if err != nil {
			if closeErr := results.Close(); closeErr != nil {
				err = closeErr // the same error, explained
			}
			return 0, b.explain(err, i)
		}
		count += n
	}
	if err := results.Close(); err != nil {
		return 0, b.explain(err, -1)
	}
	if b.progress != nil {
		b.progress(len(rows), len(rows))
	}
	return count, nil
}

// result reads the reply to one INSERT.
func (b *batch) result(results pgx.BatchResults) (int64, error) {
	if b.collect == nil {
		tag, err := results.Exec()
		return tag.RowsAffected(), err
	}
	rows, err := results.Query()
	if err != nil {
		return 0, err
	}
	return b.returned(rows)
}

// returned reads what a statement returns.
func (b *batch) returned(rows pgx.Rows) (int64, error) {
	defer rows.Close() // if that panics
	err := b.collect(rows)
	rows.Close()
	if rowsErr := rows.Err(); rowsErr != nil {
		return 0, rowsErr
	}
	return rows.CommandTag().RowsAffected(), err
}

func (b *batch) args(i int, row reflect.Value) ([]any, error) {
	if !row.IsValid() {
		return nil, &RowError{Row: i, Err: errNilRow}
	}
	args := make([]any, len(b.fields))
	for k, f := range b.fields {
		v := row.FieldByIndex(f.path)
		if err := checkText(v); err != nil {
			return nil, &RowError{Row: i, Column: f.column, Err: err}
		}
		args[k] = v.Interface()
	}
	return args, nil
}

var errNilRow = errors.New("the row is a nil pointer")

var errNUL = errors.New("the text contains a NUL byte, which PostgreSQL cannot store")

func checkText(v reflect.Value) error {
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() == reflect.String && strings.IndexByte(v.String(), 0) >= 0 {
		return errNUL
	}
	return nil
}

// staged copies into a temporary table and inserts from there.
func (b *batch) staged(ctx context.Context, q Querier) (count int64, err error) {
	stage := pgx.Identifier{"pgpool_stage_" + strings.ReplaceAll(newLedgerID(), "-", "")}
	err = inTx(ctx, q, func(ctx context.Context, tx Querier) error {
		if b.asText == nil {
			if _, err := b.onConn(ctx, tx, func(ctx context.Context, c *pgx.Conn) (int64, error) {
				_, err := b.describe(ctx, c, b.table)
				return 0, err
			}); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, b.stageSQL(stage)); err != nil {
			return err
		}
		if _, err := b.onConn(ctx, tx, func(ctx context.Context, c *pgx.Conn) (int64, error) { return b.copy(ctx, c, stage, true) }); err != nil {
			return err
		}
		sql := b.insertSQL(b.source(stage))
		if b.collect == nil {
			tag, err := tx.Exec(ctx, sql)
			count = tag.RowsAffected()
			return err
		}
		rows, err := tx.Query(ctx, sql)
		if err != nil {
			return err
		}
		count, err = b.returned(rows)
		return err
	})
	if err != nil {
		return 0, b.explain(err, -1)
	}
	return count, nil
}

// explain finds row and column in an error of the server. What was explained
// before stays as it is.
func (b *batch) explain(err error, row int) error {
	const op = "pgpool: batch insert: "
	if _, ok := errors.AsType[*RowError](err); ok || strings.HasPrefix(err.Error(), op) {
		return err
	}
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return fmt.Errorf(op+"%w", err)
	}
	column := pgErr.ColumnName
	if at, name := whereOf(pgErr.Where); at > 0 {
		row = at - 1
		if name != "" {
			column = name
		}
	}
	if row < 0 || !aboutData(pgErr.Code) {
		return fmt.Errorf(op+"%w", err)
	}
	return &RowError{Row: row, Column: column, Err: err}
}

// aboutData reports whether an error can be the fault of a row: bad data (class
// 22), a violated constraint (23, 44) or what a trigger raises (P0). A server
// that shuts down in the middle of a row (57P01) does not mean the row.
func aboutData(code string) bool {
	return len(code) == 5 && slices.Contains([]string{"22", "23", "44", "P0"}, code[:2])
}
