package pgpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// cancelGrace is how long a cancelled statement may take to end before its
// connection is given up.
const cancelGrace = time.Second

// A canceler reacts to a context that ends while its statement runs: it asks
// the server to cancel the statement, so that the connection lives on. pgx's
// default closes the connection, and a few impatient callers then starve all
// others by the reconnects; its own cancelling handler keeps each caller
// waiting for 100 ms, in case the request arrives late. Here the connection is
// flagged instead, and pinged before it is used again.
type canceler struct {
	conn *pgconn.PgConn
	wire *wire
}

func newCanceler(conn *pgconn.PgConn) ctxwatch.Handler {
	w, ok := conn.Conn().(*wire)
	if !ok {
		return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
	}
	return &canceler{conn: conn, wire: w}
}

// HandleCancel implements ctxwatch.Handler.
func (c *canceler) HandleCancel(context.Context) { c.wire.cancel(c.conn) }

// HandleUnwatchAfterCancel implements ctxwatch.Handler.
func (c *canceler) HandleUnwatchAfterCancel() { _ = c.wire.Conn.SetDeadline(time.Time{}) }

// cancel asks the server to cancel what runs on the connection, without
// waiting for it. It is safe to call from any goroutine.
func (w *wire) cancel(conn *pgconn.PgConn) {
	deadline := time.Now().Add(cancelGrace)
	w.flagged.Store(true)
	done := make(chan struct{})
	w.cancelling.Store(&done)
	_ = w.Conn.SetDeadline(deadline)
	w.node.cancelled.Add(1)
	go func() {
		defer close(done)
		ctx, stop := context.WithDeadline(context.Background(), deadline)
		defer stop()
		_ = conn.CancelRequest(ctx) // if it fails, the deadline ends the statement
	}()
}

// explain maps the error of a statement to what its caller can act on. conn is
// the connection it ran on.
func (w *wire) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	w.usage.mu.Lock()
	expired := w.usage.expired
	w.usage.mu.Unlock()
	switch {
	case expired:
		return fmt.Errorf("%w: after %v: %w", ErrQueryTimeout, w.node.timeout, err)
	case ctx.Err() != nil && (Code(err) == "57014" || errors.Is(err, ctx.Err()) && !errors.Is(err, context.Cause(ctx))):
		return &cancelledError{cause: context.Cause(ctx), ctx: ctx.Err(), server: err}
	case Code(err) == "57014" && isStatementTimeout(err):
		return fmt.Errorf("%w: %w", ErrQueryTimeout, err)
	default:
		return err
	}
}

// isStatementTimeout tells a statement timeout from other cancellations.
func isStatementTimeout(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	// The message is all that distinguishes the two; in other languages it
	// stays a plain 57014.
	return ok && pgErr.Message == "canceling statement due to statement timeout"
}

// A cancelledError is a statement that the server cancelled, or that was not
// sent, because its context ended. It matches the context's error and its cause
// as well as the error of the server or of pgx.
type cancelledError struct {
	cause, ctx, server error
}

func (e *cancelledError) Error() string {
	return "pgpool: " + e.cause.Error() + " (" + e.server.Error() + ")"
}

func (e *cancelledError) Unwrap() []error { return []error{e.cause, e.ctx, e.server} }
