package pgpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Errors to test for with errors.Is. Each returned error wraps the cause, so
// that a *pgconn.PgError stays reachable with errors.As.
var (
	// ErrInvalidConfig: New refused the Config; the error lists every problem
	// by the name of its variable.
	ErrInvalidConfig = errors.New("pgpool: invalid config")

	// ErrNotFound: Get found no row. It matches pgx.ErrNoRows and
	// sql.ErrNoRows too.
	ErrNotFound error = &notFoundError{}

	// ErrTooManyRows: Get found more than one row. It matches
	// pgx.ErrTooManyRows too.
	ErrTooManyRows error = &tooManyRowsError{}

	// ErrPoolExhausted: no connection became free within Config.ConnectTimeout
	// or before the context ended. The error is an *ExhaustedError, which says
	// who holds the connections.
	ErrPoolExhausted = errors.New("pgpool: pool exhausted")

	// ErrUnavailable: no connection could be made within Config.ConnectTimeout,
	// because the server is away, starting up, or refuses.
	ErrUnavailable = errors.New("pgpool: server unavailable")

	// ErrQueryTimeout: a statement ran into Config.QueryTimeout or
	// Config.StatementTimeout and was cancelled at the server.
	ErrQueryTimeout = errors.New("pgpool: query timed out")

	// ErrCommitUnknown: the connection was lost during COMMIT and the server
	// could not tell afterwards whether the transaction stands. Its effects
	// may or may not be there; nothing was repeated.
	ErrCommitUnknown = errors.New("pgpool: commit outcome unknown")

	// ErrClosed: the pool was stopped.
	ErrClosed = errors.New("pgpool: closed")

	// ErrTxBusy: a transaction was used while another of its statements was
	// still running, or its rows were still open. A transaction is one
	// connection and does one thing at a time.
	ErrTxBusy = errors.New("pgpool: transaction is busy")

	// ErrTxManaged: Commit or Rollback was called on a transaction that
	// Transaction ends by itself. Return an error to roll back. Transaction
	// returns it if a statement ended the transaction: a COMMIT among its SQL,
	// or a ROLLBACK. What ran before may then stand.
	ErrTxManaged = errors.New("pgpool: the transaction is ended by Transaction")
)

type notFoundError struct{}

func (*notFoundError) Error() string { return "pgpool: no row found" }
func (*notFoundError) Unwrap() error { return pgx.ErrNoRows }

type tooManyRowsError struct{}

func (*tooManyRowsError) Error() string { return "pgpool: more than one row found" }
func (*tooManyRowsError) Unwrap() error { return pgx.ErrTooManyRows }

// An ExhaustedError is an ErrPoolExhausted with the state of the pool at that
// moment.
type ExhaustedError struct {
	Waited   time.Duration // how long the caller waited for a connection
	MaxConns int32         // the pool's size
	Waiting  int64         // callers that wait, this one not counted
	Holders  []Holder      // who holds the connections, longest first
	InTx     bool          // the caller itself holds one, in a transaction of its context
	Err      error         // what ended the wait: context.DeadlineExceeded or the context's error
}

// A Holder is one connection in use.
type Holder struct {
	PID    uint32        // the server process
	Held   time.Duration // since it was acquired
	SQL    string        // the statement that runs, or ran last
	Active bool          // it runs now; otherwise the holder is doing something else
	InTx   bool          // a transaction is open
	Stack  string        // where it was acquired; only with WithLeakDetection
}

// Error names the three longest holders.
func (e *ExhaustedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: none of %d connections became free within %v, %d more callers wait",
		ErrPoolExhausted, e.MaxConns, e.Waited.Round(time.Millisecond), e.Waiting)
	if e.InTx {
		b.WriteString("; the caller holds one itself, in a transaction: use that one (its context, or tx)")
	}
	for i, h := range e.Holders {
		if i == 3 {
			fmt.Fprintf(&b, "; and %d more", len(e.Holders)-i)
			break
		}
		fmt.Fprintf(&b, "; %v", h)
	}
	return b.String()
}

// Is reports whether target is ErrPoolExhausted.
func (e *ExhaustedError) Is(target error) bool { return target == ErrPoolExhausted }

// Unwrap returns what ended the wait.
func (e *ExhaustedError) Unwrap() error { return e.Err }

// String describes the holder in one line.
func (h Holder) String() string {
	doing := "idle after"
	if h.Active {
		doing = "running"
	}
	if h.InTx {
		doing = "in a transaction, " + doing
	}
	s := fmt.Sprintf("pid %d held for %v, %s %q", h.PID, h.Held.Round(time.Millisecond), doing, shorten(h.SQL, 80))
	if h.Stack != "" {
		s += " (acquired at " + h.Stack + ")"
	}
	return s
}

// Code returns the SQLSTATE of the PostgreSQL error in err's chain, such as
// "23505", or "" if there is none.
func Code(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}

// IsUniqueViolation reports whether err is a violation of a unique constraint
// or index (23505), of one of the named ones if names are given.
func IsUniqueViolation(err error, constraints ...string) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == "23505" && (len(constraints) == 0 || slices.Contains(constraints, pgErr.ConstraintName))
}

// isServerReply reports whether err is an error that the server sent and after
// which the connection goes on: the statement is known to have failed.
func isServerReply(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && !isFatal(pgErr)
}

func isFatal(err *pgconn.PgError) bool {
	severity := err.SeverityUnlocalized
	if severity == "" {
		severity = err.Severity // before PostgreSQL 9.6, and PgBouncer
	}
	return severity == "FATAL" || severity == "PANIC"
}

// isStalePlan reports whether a prepared statement no longer fits its table.
// The server notices before it executes anything.
func isStalePlan(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == "0A000" && pgErr.Routine == "RevalidateCachedQuery"
}

// isConflict reports whether the server asks for the transaction to be run
// again.
func isConflict(err error) bool {
	switch Code(err) {
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return true
	default:
		return false
	}
}

// ended says why ctx is done, in an error that matches its Err and its Cause.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// isContext reports whether err comes from the caller's own context.
func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// shorten makes s fit into a log line.
func shorten(s string, limit int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
