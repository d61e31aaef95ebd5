package pgpool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"regexp"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// copy sends all rows by COPY, with their number as one more column if
// numbered.
//
// It does not use pgx's CopyFrom, which needs a goroutine, a pipe and a slice
// of boxed values a row. Rows are encoded right into the messages.
func (b *batch) copy(ctx context.Context, c *pgx.Conn, table pgx.Identifier, numbered bool) (count int64, err error) {
	columns := b.columnList()
	if numbered {
		columns += ", pgpool_row"
	}
	described, err := c.Prepare(ctx, "", "select "+columns+" from "+table.Sanitize())
	if err != nil {
		return 0, b.explain(err, -1)
	}
	r := &copyReader{batch: b, numbered: numbered}
	for i, f := range b.fields {
		oid := described.Fields[i].DataTypeOID
		if err := loadType(ctx, c, oid); err != nil {
			return 0, fmt.Errorf("pgpool: batch insert: type of column %q: %w", f.column, err)
		}
		r.encoders = append(r.encoders, encoderFor(c.TypeMap(), oid, f.typ))
	}
	r.start()
	if w := wireOf(c); w != nil {
		o := observer{node: w.node}
		o.start(c, "copy "+table.Sanitize()+" from stdin", nil)
		defer func() { o.end(c, err) }()
	}
	tag, err := c.PgConn().CopyFrom(ctx, r, "copy "+table.Sanitize()+" ("+columns+") from stdin binary")
	if r.panicked != nil {
		panic(r.panicked)
	}
	if r.err != nil {
		return 0, r.err // what the server says is only its consequence
	}
	if err != nil {
		return 0, b.explain(err, -1)
	}
	if b.progress != nil {
		b.progress(r.row, b.total)
	}
	return tag.RowsAffected(), nil
}

// A copyReader encodes rows in the binary format of COPY as they are asked for.
type copyReader struct {
	batch    *batch
	encoders []encoder
	numbered bool

	buf      []byte
	pos      int
	row      int
	told     int
	ended    bool
	err      error
	panicked any
}

func (r *copyReader) start() {
	r.buf = append(r.buf, "PGCOPY\n\377\r\n\000\000\000\000\000\000\000\000\000"...)
}

var errSourcePanicked = errors.New("pgpool: batch insert: the source of the rows panicked")

// Read implements io.Reader. It runs on a goroutine of pgx, on which a panic
// would end the process: it is brought to the caller's.
func (r *copyReader) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			r.panicked = v
			err = errSourcePanicked
		}
	}()
	if r.pos == len(r.buf) {
		r.buf, r.pos = r.buf[:0], 0
	}
	for !r.ended && len(r.buf)-r.pos < len(p) {
		if r.err = r.encodeNext(); r.err != nil {
			return 0, r.err
		}
	}
	r.tell()
	n = copy(p, r.buf[r.pos:])
	r.pos += n
	if n == 0 && r.ended {
		return 0, io.EOF
	}
	if left := len(r.buf) - r.pos; left > 0 && r.pos > left {
		r.buf = r.buf[:copy(r.buf, r.buf[r.pos:])]
		r.pos = 0
	}
	return n, nil
}

func (r *copyReader) encodeNext() error {
	row, ok := r.batch.next()
	if !ok {
		r.ended = true
		r.buf = append(r.buf, 0xff, 0xff)
		return nil
	}
	columns := len(r.encoders)
	if r.numbered {
		columns++
	}
	r.buf = binary.BigEndian.AppendUint16(r.buf, uint16(columns))
	for i, encode := range r.encoders {
		f := &r.batch.fields[i]
		at := len(r.buf)
		buf, err := encode(append(r.buf, 0, 0, 0, 0), row.FieldByIndex(f.path))
		if err != nil {
			return &RowError{Row: r.row, Column: f.column, Err: err}
		}
		if buf == nil { // NULL
			r.buf = append(r.buf[:at], 0xff, 0xff, 0xff, 0xff)
			continue
		}
		size := len(buf) - at - 4
		binary.BigEndian.PutUint32(buf[at:], uint32(size))
		r.buf = buf
	}
	if r.numbered {
		r.buf = append(r.buf, 0, 0, 0, 8)
		r.buf = appendUint64(r.buf, uint64(r.row))
	}
	r.row++
	return nil
}

// tell reports progress about every percent.
func (r *copyReader) tell() {
	if r.batch.progress == nil || r.ended {
		return
	}
	if r.row-r.told >= max(1000, r.batch.total/100) {
		r.told = r.row
		r.batch.progress(r.row, r.batch.total)
	}
}

func sliceSource[T any](rows []T) (next func() (reflect.Value, bool), stop func()) {
	v := reflect.ValueOf(rows)
	i := 0
	return func() (reflect.Value, bool) {
		if i == len(rows) {
			return reflect.Value{}, false
		}
		row := v.Index(i)
		i++
		if row.Kind() == reflect.Pointer {
			row = row.Elem()
		}
		return row, true
	}, func() {}
}

func seqSource[T any](rows iter.Seq[T]) (next func() (reflect.Value, bool), stop func()) {
	pull, stop := iter.Pull(rows)
	return func() (reflect.Value, bool) {
		row, ok := pull()
		if !ok {
			return reflect.Value{}, false
		}
		v := reflect.ValueOf(&row).Elem()
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		return v, true
	}, stop
}

// onConn runs f with the connection under a Querier.
func (b *batch) onConn(ctx context.Context, q Querier, f func(context.Context, *pgx.Conn) (int64, error)) (int64, error) {
	switch q := q.(type) {
	case *Pool:
		if t := txFrom(ctx, q); t != nil {
			return t.with(ctx, f)
		}
		return q.primary.with(ctx, f)
	case interface {
		with(ctx context.Context, f func(context.Context, *pgx.Conn) (int64, error)) (int64, error)
	}:
		return q.with(ctx, f)
	case *pgx.Conn:
		return f(ctx, q)
	case interface{ Conn() *pgx.Conn }:
		return f(ctx, q.Conn())
	case *pgxpool.Pool:
		conn, err := q.Acquire(ctx)
		if err != nil {
			return 0, err
		}
		defer conn.Release()
		return f(ctx, conn.Conn())
	default:
		return 0, fmt.Errorf("pgpool: batch insert: a %T has no connection to copy on", q)
	}
}

// inTx runs f in a transaction of q, which may be one.
func inTx(ctx context.Context, q Querier, f func(context.Context, Querier) error) error {
	switch q := q.(type) {
	case *Pool:
		return q.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error { return f(ctx, tx) }, MaxAttempts(1))
	case pgx.Tx:
		return f(ctx, q)
	case interface {
		Begin(ctx context.Context) (pgx.Tx, error)
	}:
		return pgx.BeginFunc(ctx, q, func(tx pgx.Tx) error { return f(ctx, tx) })
	default:
		return fmt.Errorf("pgpool: batch insert: a %T cannot begin a transaction", q)
	}
}

// with runs f on a connection of its own.
func (n *node) with(ctx context.Context, f func(context.Context, *pgx.Conn) (int64, error)) (int64, error) {
	conn, err := n.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	count, err := f(ctx, conn.Conn())
	if err != nil {
		return 0, wireOf(conn.Conn()).explain(ctx, err)
	}
	n.noteWrite(ctx, conn.Conn())
	return count, nil
}

// with runs f on the transaction's connection.
func (t *tx) with(ctx context.Context, f func(context.Context, *pgx.Conn) (int64, error)) (int64, error) {
	if err := t.enter(); err != nil {
		return 0, err
	}
	defer t.leave()
	count, err := f(ctx, t.c)
	return count, t.note(ctx, err)
}

// whereRow finds the row in the context of a server's error: "COPY t, line 5,
// column name". The words may be in another language.
var whereRow = regexp.MustCompile(`^COPY .*?, \S+ (\d+)(?:, \S+ ([^:,]+))?`)

func whereOf(where string) (row int, column string) {
	m := whereRow.FindStringSubmatch(where)
	if m == nil {
		return 0, ""
	}
	row, _ = strconv.Atoi(m[1])
	return row, m[2]
}
