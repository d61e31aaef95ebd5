package pgpool

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A Querier runs statements: a *Pool, what Replica returns, a pgx.Tx, a
// *pgx.Conn, a *pgxpool.Pool. The methods are pgx's; sqlc's generated DBTX is a
// part of it.
type Querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error)
}

// maxReplays bounds how often one call is repeated for lost connections: when a
// server ends all of them at once, a call may meet one after the other. Each
// time, acquire has waited for the server.
func (n *node) maxReplays() int { return int(n.pool.cfg.MaxConns) + 10 }

// nothingRan reports whether a failed statement is certain not to have been
// executed, so that it can be repeated whatever it is: no byte of it was sent
// on a connection that is gone, or its prepared form was out of date.
func nothingRan(ctx context.Context, conn *pgx.Conn, w *wire, runs uint64, err error) bool {
	if isStalePlan(err) {
		return true
	}
	return conn.IsClosed() && w.runs.Load() == runs && ctx.Err() == nil && !w.flagged.Load()
}

// lost reports whether a statement failed because its connection is gone, by
// no wish of ours.
func lost(ctx context.Context, conn *pgx.Conn, w *wire) bool {
	return conn.IsClosed() && ctx.Err() == nil && !w.flagged.Load()
}

// exec runs one statement by itself. It may be a write, and so is repeated only
// if nothing ran.
func (n *node) exec(ctx context.Context, sql string, args []any) (pgconn.CommandTag, error) {
	for attempt := 0; ; attempt++ {
		tag, again, err := n.execOnce(ctx, sql, args)
		if !again || attempt == n.maxReplays() {
			return tag, err
		}
		n.retried.Add(1)
	}
}

// execOnce reports with its error whether nothing ran.
func (n *node) execOnce(ctx context.Context, sql string, args []any) (tag pgconn.CommandTag, again bool, err error) {
	conn, err := n.acquire(ctx)
	if err != nil {
		return tag, false, err
	}
	defer conn.Release() // after a panic too: arguments may encode themselves
	c := conn.Conn()
	w := wireOf(c)
	runs := w.runs.Load()
	if tag, err = c.Exec(ctx, sql, args...); err != nil {
		return tag, nothingRan(ctx, c, w, runs, err), w.explain(ctx, err)
	}
	n.noteWrite(ctx, c)
	return tag, false, nil
}

// A run is one query on its way: on which connection, and whether it may be
// sent again.
type run struct {
	node  *node
	sql   string
	args  []any
	reads bool // in all likelihood; see mayWrite

	conn     *pgxpool.Conn
	wire     *wire
	runs     uint64
	attempt  int
	readOnly bool  // this attempt is a repetition of something that may have run
	first    error // why the first attempt failed, if this is a repetition
}

// open sends the query on a fresh connection.
//
// A query whose connection was lost after it was sent may have run, and may
// have written. It is repeated in a read-only transaction: if it only reads,
// the answer is right; if it writes, the server refuses and the caller gets the
// first error. So no write happens twice, and nobody has to guess from the text
// of a statement what it does.
func (r *run) open(ctx context.Context) (rows pgx.Rows, err error) {
	// A repetition, and what will not be repeated, gets a connection that was
	// looked at.
	conn, err := r.node.acquireFor(ctx, r.attempt == 0 && r.reads)
	if err != nil {
		return nil, r.worse(err)
	}
	c := conn.Conn()
	r.conn, r.wire = conn, wireOf(c)
	if r.readOnly {
		r.wire.prefix.add(beginReadOnly)
		r.wire.readOnly = true
	}
	r.runs = r.wire.runs.Load()
	r.wire.prompt = true
	defer func() {
		if rows == nil { // a panic: arguments may encode themselves
			r.wire.prefix.reset()
			r.wire.readOnly = false
			conn.Release()
		}
	}()
	rows, _ = c.Query(ctx, r.sql, r.args...) // closed by close, which looks at Err too
	return rows, nil
}

// close ends the attempt: rows are closed and the connection is released. again
// tells to call open once more; otherwise err is the outcome. consumed says
// that the caller has seen rows, and so cannot begin anew.
func (r *run) close(ctx context.Context, rows pgx.Rows, consumed bool) (again bool, err error) {
	defer r.release() // after a panic too: the hooks of the host run here
	rows.Close()
	c, w := r.conn.Conn(), r.wire
	if err = rows.Err(); err != nil && !consumed && r.attempt < r.node.maxReplays() {
		switch {
		case nothingRan(ctx, c, w, r.runs, err):
			again = true
		case lost(ctx, c, w):
			again = true
			r.readOnly = true
		}
	}
	if err != nil {
		err = w.explain(ctx, err)
	} else if !r.reads {
		r.node.noteWrite(ctx, c)
	}
	if w.readOnly {
		w.prefix.reset()
		if endReadOnly(context.WithoutCancel(ctx), c) && err == nil {
			err = r.first // it writes, and may have done so
		}
	}
	if again {
		r.attempt++
		r.node.retried.Add(1)
		if r.first == nil {
			r.first = err
		}
		return true, err
	}
	if err != nil && r.readOnly {
		switch Code(err) {
		case "25006", "25001", "2D000": // it writes, or cannot be in a transaction, and may have run
			return false, r.first
		}
	}
	return false, err
}

func (r *run) release() {
	if r.wire.readOnly {
		r.wire.prefix.reset()
		r.wire.readOnly = false
	}
	r.conn.Release()
	r.conn = nil
}

// endReadOnly ends the transaction of a repetition. It reports whether that wrote
// all the same, which is undone: before PostgreSQL 16 a read-only transaction may
// write large objects. NOTIFY is no write, and must not be lost.
func endReadOnly(ctx context.Context, c *pgx.Conn) (wrote bool) {
	end := "rollback"
	switch {
	case c.IsClosed() || c.PgConn().TxStatus() == 'I':
		return false
	case c.PgConn().TxStatus() == 'T':
		values, err := askOne(ctx, c, "select txid_current_if_assigned() is not null")
		if wrote = err == nil && values[0] == "t"; err == nil && !wrote {
			end = "commit"
		}
	}
	_, _ = c.Exec(ctx, end)
	return wrote
}

// worse chooses between the error of an acquire and that of the attempt before.
func (r *run) worse(err error) error {
	if r.first != nil {
		return errors.Join(r.first, err)
	}
	return err
}

// hand lets the rows be taken. If that panics, as a type that scans itself may,
// the run ends here.
func (r *run) hand(ctx context.Context, rows pgx.Rows, into result) error {
	returned := false
	defer func() {
		if !returned {
			_, _ = r.close(ctx, rows, true)
		}
	}()
	err := into.take(rows)
	returned = true
	return err
}

// read runs a query and lets its rows be taken, anew if it is repeated.
func (n *node) read(ctx context.Context, sql string, args []any, into result) error {
	r := run{node: n, sql: sql, args: args, reads: !mayWrite(sql)}
	for {
		rows, err := r.open(ctx)
		if err != nil {
			return err
		}
		readErr := r.hand(ctx, rows, into)
		again, err := r.close(ctx, rows, false)
		switch {
		case again:
		case err != nil:
			return err
		default:
			return readErr
		}
	}
}

// query runs a query and returns its open rows.
func (n *node) query(ctx context.Context, sql string, args []any) (*poolRows, error) {
	p := &poolRows{ctx: ctx, run: run{node: n, sql: sql, args: args, reads: !mayWrite(sql)}}
	for {
		rows, err := p.run.open(ctx)
		if err != nil {
			p.err = err
			return p, err
		}
		// The first row, or the error instead, arrives with the reply to the
		// query. As long as the caller has seen nothing, it can be repeated.
		if p.prime(rows); p.more || rows.Err() == nil {
			p.Rows, p.primed = rows, true
			if !p.more {
				p.fields = slices.Clone(rows.FieldDescriptions()) // pgx uses its own again
				p.Close()
			}
			return p, p.err
		}
		if again, err := p.run.close(ctx, rows, false); !again {
			p.err = err
			return p, err
		}
	}
}

// prime looks for the first row. If that panics, as the hooks of the host may, the
// run ends here.
func (r *poolRows) prime(rows pgx.Rows) {
	returned := false
	defer func() {
		if !returned {
			_, _ = r.run.close(r.ctx, rows, true)
		}
	}()
	r.more = rows.Next()
	returned = true
}
