package pgpool

import (
	"context"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// An observer is the pgx tracer of a node. It sees every statement and every
// acquire, including those of code that uses Pool.Pgx directly, and notes them
// on the connection's wire; it allocates nothing. The host's own tracer is
// called from it.
type observer struct {
	node  *node
	query pgx.QueryTracer
	batch pgx.BatchTracer
	copy  pgx.CopyFromTracer
	prep  pgx.PrepareTracer
	dial  pgx.ConnectTracer
	acq   pgxpool.AcquireTracer
	rel   pgxpool.ReleaseTracer
}

func newObserver(n *node, t pgx.QueryTracer) *observer {
	o := &observer{node: n, query: t}
	if t != nil {
		o.batch, _ = t.(pgx.BatchTracer)
		o.copy, _ = t.(pgx.CopyFromTracer)
		o.prep, _ = t.(pgx.PrepareTracer)
		o.dial, _ = t.(pgx.ConnectTracer)
		o.acq, _ = t.(pgxpool.AcquireTracer)
		o.rel, _ = t.(pgxpool.ReleaseTracer)
	}
	return o
}

// TraceQueryStart implements pgx.QueryTracer.
func (o *observer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if o.query != nil {
		ctx = o.query.TraceQueryStart(ctx, conn, data)
	}
	return o.start(ctx, conn, data.SQL, data.Args)
}

// TraceQueryEnd implements pgx.QueryTracer.
func (o *observer) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	o.end(conn, data.Err)
	if o.query != nil {
		o.query.TraceQueryEnd(ctx, conn, data)
	}
}

// TraceBatchStart implements pgx.BatchTracer.
func (o *observer) TraceBatchStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	sql := "batch"
	if qq := data.Batch.QueuedQueries; len(qq) > 0 {
		sql = qq[0].SQL
	}
	if o.batch != nil {
		ctx = o.batch.TraceBatchStart(ctx, conn, data)
	}
	return o.start(ctx, conn, sql, nil)
}

// TraceBatchQuery implements pgx.BatchTracer.
func (o *observer) TraceBatchQuery(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchQueryData) {
	if o.batch != nil {
		o.batch.TraceBatchQuery(ctx, conn, data)
	}
}

// TraceBatchEnd implements pgx.BatchTracer.
func (o *observer) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchEndData) {
	o.end(conn, data.Err)
	if o.batch != nil {
		o.batch.TraceBatchEnd(ctx, conn, data)
	}
}

// TraceCopyFromStart implements pgx.CopyFromTracer.
func (o *observer) TraceCopyFromStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceCopyFromStartData) context.Context {
	if o.copy != nil {
		ctx = o.copy.TraceCopyFromStart(ctx, conn, data)
	}
	return o.start(ctx, conn, "copy "+data.TableName.Sanitize(), nil)
}

// TraceCopyFromEnd implements pgx.CopyFromTracer.
func (o *observer) TraceCopyFromEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceCopyFromEndData) {
	o.end(conn, data.Err)
	if o.copy != nil {
		o.copy.TraceCopyFromEnd(ctx, conn, data)
	}
}

// TracePrepareStart implements pgx.PrepareTracer.
func (o *observer) TracePrepareStart(ctx context.Context, conn *pgx.Conn, data pgx.TracePrepareStartData) context.Context {
	if o.prep != nil {
		ctx = o.prep.TracePrepareStart(ctx, conn, data)
	}
	return ctx
}

// TracePrepareEnd implements pgx.PrepareTracer.
func (o *observer) TracePrepareEnd(ctx context.Context, conn *pgx.Conn, data pgx.TracePrepareEndData) {
	if o.prep != nil {
		o.prep.TracePrepareEnd(ctx, conn, data)
	}
}

// TraceConnectStart implements pgx.ConnectTracer.
func (o *observer) TraceConnectStart(ctx context.Context, data pgx.TraceConnectStartData) context.Context {
	if o.dial != nil {
		ctx = o.dial.TraceConnectStart(ctx, data)
	}
	return ctx
}

// TraceConnectEnd implements pgx.ConnectTracer.
func (o *observer) TraceConnectEnd(ctx context.Context, data pgx.TraceConnectEndData) {
	if data.Err != nil {
		o.node.connectFailed(data.Err)
	} else {
		o.node.opened.Add(1)
	}
	if o.dial != nil {
		o.dial.TraceConnectEnd(ctx, data)
	}
}

// TraceAcquireStart implements pgxpool.AcquireTracer.
func (o *observer) TraceAcquireStart(ctx context.Context, p *pgxpool.Pool, data pgxpool.TraceAcquireStartData) context.Context {
	if o.acq == nil {
		return ctx
	}
	own, ok := ctx.(*patience)
	if !ok {
		return o.acq.TraceAcquireStart(ctx, p, data)
	}
	return acquiring{own, o.acq.TraceAcquireStart(own.Context, p, data)}
}

// TraceAcquireEnd implements pgxpool.AcquireTracer.
func (o *observer) TraceAcquireEnd(ctx context.Context, p *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	if data.Conn != nil {
		w := wireOf(data.Conn)
		w.prompt = false
		now := clock()
		if p := patienceOf(ctx); p != nil {
			p.got = now
		}
		w.usage.mu.Lock()
		w.usage.acquired, w.usage.leaked, w.usage.depth = now, false, 0
		if o.node.pool.opts.leakAfter > 0 {
			w.usage.depth = runtime.Callers(3, w.usage.callers[:])
		}
		w.usage.mu.Unlock()
	}
	if o.acq != nil {
		if a, ok := ctx.(acquiring); ok {
			ctx = a.traced
		}
		o.acq.TraceAcquireEnd(ctx, p, data)
	}
}

// TraceRelease implements pgxpool.ReleaseTracer.
func (o *observer) TraceRelease(p *pgxpool.Pool, data pgxpool.TraceReleaseData) {
	w := wireOf(data.Conn)
	w.usage.mu.Lock()
	leaked, acquired := w.usage.leaked, w.usage.acquired
	w.usage.acquired, w.usage.started, w.usage.args, w.usage.ctx = 0, 0, nil, nil // a panic may have kept the statement's end from being seen
	w.usage.mu.Unlock()
	if leaked {
		o.node.returned(data.Conn.PgConn().PID(), time.Duration(clock()-acquired))
	}
	if o.rel != nil {
		o.rel.TraceRelease(p, data)
	}
}

// start notes that a statement starts. It returns the context for pgx to use.
func (o *observer) start(ctx context.Context, conn *pgx.Conn, sql string, args []any) context.Context {
	w := wireOf(conn)
	w.settle()
	ends := ctx.Done() != nil && ctx.Err() == nil
	u := &w.usage
	u.mu.Lock()
	if u.sql, u.args = sql, args; w.prompt {
		u.started, w.prompt = u.acquired, false
	} else {
		u.started = clock()
	}
	u.slow, u.expired = false, false
	if ends {
		u.ctx = ctx
	}
	u.mu.Unlock()
	if o.node.isTransactionMode() {
		o.node.warnSessionOnly(sql)
	}
	if !ends {
		return ctx
	}
	o.node.lookOut()
	return watched{ctx}
}

func (o *observer) end(conn *pgx.Conn, err error) {
	w := wireOf(conn)
	u := &w.usage
	u.mu.Lock()
	took := time.Duration(clock() - u.started)
	sql, args, reported := u.sql, u.args, u.slow
	u.started, u.args, u.ctx = 0, nil, nil
	u.inTx = conn.PgConn().TxStatus() != 'I'
	u.mu.Unlock()

	n := o.node
	n.latency.Observe(took)
	if err != nil {
		n.failed(w, conn.PgConn(), err)
	}
	if limit := n.pool.cfg.SlowQuery; limit > 0 && took > limit {
		n.slowQuery(SlowQuery{SQL: sql, Args: describeArgs(args), Took: took, PID: conn.PgConn().PID(), Err: err, Reported: reported})
	}
}
