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
	"sync"
	"sync/atomic"

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
	oids, err := b.describe(ctx, c, table)
	if err != nil {
		return 0, err
	}
	if !numbered && len(b.asText) > 0 {
		return 0, errAsText
	}
	r := &copyReader{batch: b, numbered: numbered}
	for i, f := range b.fields {
		r.encoders = append(r.encoders, encoderFor(c.TypeMap(), oids[i], f.typ))
	}
	r.start()
	if w := wireOf(c); w != nil {
		o := observer{node: w.node}
		ctx = o.start(ctx, c, "copy "+table.Sanitize()+" from stdin", nil)
		defer func() { o.end(c, err) }()
	}
	tag, err := c.PgConn().CopyFrom(ctx, r, "copy "+table.Sanitize()+" ("+columns+") from stdin binary")
	r.close()
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

// errAsText says that a column has to go by the temporary table. Nothing was
// read or sent.
var errAsText = errors.New("pgpool: batch insert: a column is copied as text")

// describe finds the types of the columns of a table, and adds to asText those
// that cannot be sent in the binary format of COPY: types that pgx does not
// know, such as citext and money, and Go strings for types other than text,
// which are the server's to read.
func (b *batch) describe(ctx context.Context, c *pgx.Conn, table pgx.Identifier) (oids []uint32, err error) {
	described, err := c.Prepare(ctx, "", "select "+b.columnList()+" from "+table.Sanitize())
	if err != nil {
		return nil, b.explain(err, -1)
	}
	for i, f := range b.fields {
		d := described.Fields[i]
		oids = append(oids, d.DataTypeOID)
		err := loadType(ctx, c, d.DataTypeOID)
		if err != nil && (c.IsClosed() || ctx.Err() != nil) {
			return nil, fmt.Errorf("pgpool: batch insert: type of column %q: %w", f.column, err)
		}
		if err == nil && !isString(f.typ) || err == nil && c.TypeMap().PlanEncode(d.DataTypeOID, pgx.BinaryFormatCode, "") != nil {
			continue
		}
		values, err := askOne(ctx, c, fmt.Sprintf("select format_type(%d, %d)", d.DataTypeOID, d.TypeModifier))
		if err != nil {
			return nil, fmt.Errorf("pgpool: batch insert: type of column %q: %w", f.column, err)
		}
		if b.asText == nil {
			b.asText = map[string]string{}
		}
		b.asText[f.column] = values[0]
	}
	return oids, nil
}

// isString reports whether values of a type are strings.
func isString(typ reflect.Type) bool {
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	return typ.Kind() == reflect.String && !encodesItself(typ)
}

// A copyReader encodes rows in the binary format of COPY as they are asked for.
type copyReader struct {
	batch    *batch
	encoders []encoder
	numbered bool

	mu       sync.Mutex // held by Read
	buf      []byte
	pos      int
	row      int
	told     int
	ended    bool
	closed   atomic.Bool
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
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	defer func() {
		if v := recover(); v != nil {
			r.panicked = v
			err = errSourcePanicked
		}
	}()
	if r.pos == len(r.buf) {
		r.buf, r.pos = r.buf[:0], 0
	}
	for !r.ended && !r.closed.Load() && len(r.buf)-r.pos < len(p) {
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

// close waits for a Read under way and lets none begin: pgx does not wait for
// its goroutine if the connection is lost, and the rows are the caller's again.
func (r *copyReader) close() {
	r.closed.Store(true)
	r.mu.Lock()
	r.buf, r.pos = nil, 0
	r.mu.Unlock()
}

func (r *copyReader) encodeNext() error {
	row, ok := r.batch.next()
	if !ok {
		r.ended = true
		r.buf = append(r.buf, 0xff, 0xff)
		return nil
	}
	if !row.IsValid() {
		return &RowError{Row: r.row, Err: errNilRow}
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

// claimed reports whether q is a transaction WithClaims. Its tables have
// row-level security, as a rule, and PostgreSQL refuses to COPY into those.
func claimed(ctx context.Context, q Querier) bool {
	switch q := q.(type) {
	case *Pool:
		t := txFrom(ctx, q)
		return t != nil && t.opts.claims != nil
	case *tx:
		return q.opts.claims != nil
	case *savepoint:
		return q.opts.claims != nil
	default:
		return false
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
