package pgpool

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// copy sends all rows by COPY, to the table itself or to the temporary one.
//
// It does not use pgx's CopyFrom, which needs a goroutine, a pipe and a slice
// of boxed values a row. Rows are encoded right into the messages.
func (b *batch) copy(ctx context.Context, c *pgx.Conn, table pgx.Identifier, stage bool) (count int64, err error) {
	columns, numbered := b.columnList(), stage && b.ordered()
	if numbered {
		columns += ", pgpool_row"
	}
	oids, err := b.describe(ctx, c, table)
	if err != nil {
		return 0, err
	}
	if !stage {
		if view, err := isView(ctx, c, table); err != nil || view || len(b.asText) > 0 {
			return 0, cmp.Or(err, errStaged)
		}
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
	switch {
	case r.panicked != nil:
		panic(r.panicked)
	case r.exited:
		runtime.Goexit()
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

// errStaged says that the rows have to go by the temporary table. Nothing was
// read or sent.
var errStaged = errors.New("pgpool: batch insert: a column is copied as text, or the table is a view")

// isView reports whether a table is a view, into which there is no COPY.
func isView(ctx context.Context, c *pgx.Conn, table pgx.Identifier) (bool, error) {
	values, err := askOne(ctx, c, "select relkind = 'v' from pg_class where oid = "+literal(table.Sanitize())+"::regclass")
	if err != nil {
		return false, fmt.Errorf("pgpool: batch insert: kind of the table: %w", err)
	}
	return values[0] == "t", nil
}

// describe finds the types of the columns of a table, and adds to asText those
// that cannot be sent in the binary format of COPY: types that pgx does not
// know, such as citext and money, and Go strings for types other than text,
// which are the server's to read.
//
// It asks by an INSERT that is not executed, so that the server refuses here
// what it refuses for few rows. COPY would write into GENERATED ALWAYS AS
// IDENTITY.
func (b *batch) describe(ctx context.Context, c *pgx.Conn, table pgx.Identifier) (oids []uint32, err error) {
	described, err := c.Prepare(ctx, "", "insert into "+table.Sanitize()+" ("+b.columnList()+") "+b.placeholders())
	if err != nil {
		return nil, b.explain(err, -1)
	}
	oids = described.ParamOIDs
	for i, f := range b.fields {
		err := loadType(ctx, c, oids[i])
		if err != nil && (c.IsClosed() || ctx.Err() != nil) {
			return nil, fmt.Errorf("pgpool: batch insert: type of column %q: %w", f.column, err)
		}
		if err == nil && !isString(f.typ) || err == nil && c.TypeMap().PlanEncode(oids[i], pgx.BinaryFormatCode, "") != nil {
			continue
		}
		// Without length or precision: a cast to those cuts off what does not
		// fit, where an assignment refuses it.
		values, err := askOne(ctx, c, fmt.Sprintf("select format_type(%d, -1)", oids[i]))
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
	exited   bool
}

func (r *copyReader) start() {
	r.buf = append(r.buf, "PGCOPY\n\377\r\n\000\000\000\000\000\000\000\000\000"...)
}

var errSourceCut = errors.New("pgpool: the source of the rows panicked or ended its goroutine")

// Read implements io.Reader. It runs on a goroutine of pgx, on which a panic
// would end the process and runtime.Goexit would leave pgx waiting for ever. So
// the rows are asked for on another one, and both are brought to the caller's.
func (r *copyReader) Read(p []byte) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	done, returned := make(chan struct{}), false
	go func() {
		defer close(done)
		defer func() { r.panicked = recover() }()
		n, err = r.fill(p)
		returned = true
	}()
	if <-done; !returned {
		r.exited = r.panicked == nil
		return 0, errSourceCut
	}
	return n, err
}

// fill encodes as many rows as p has room for.
func (r *copyReader) fill(p []byte) (n int, err error) {
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

var errCannotBegin = errors.New("cannot begin a transaction")

// inTx runs f in a transaction of q, which may be one.
func inTx(ctx context.Context, q Querier, f func(context.Context, Querier) error) error {
	switch q := q.(type) {
	case *Pool:
		return q.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error { return f(ctx, tx) }, MaxAttempts(1))
	case replicas:
		return inTx(ctx, q.pool, f) // it writes
	case pgx.Tx:
		return f(ctx, q)
	case interface {
		Begin(ctx context.Context) (pgx.Tx, error)
	}:
		return pgx.BeginFunc(ctx, q, func(tx pgx.Tx) error { return f(ctx, tx) })
	default:
		return fmt.Errorf("pgpool: batch insert: a %T %w", q, errCannotBegin)
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
