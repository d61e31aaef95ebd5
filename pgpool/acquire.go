package pgpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"

	"github.com/pedro-go/pedro/internal/backoff"
)

// reconnect is the pause between attempts while the server is away.
var reconnect = backoff.Policy{Min: 5 * time.Millisecond, Max: 250 * time.Millisecond}

// pingIdle is how long a connection may be idle before it is pinged, to notice
// a network that silently dropped it. What the server closed is seen without.
const pingIdle = 30 * time.Second

// usedJustNow is how long after its last use a connection is given to a read, or
// to a transaction that may be run again, without a look at its socket, which would
// be a tenth of what a small query costs its caller. It is short, because a SELECT
// may call a function that writes, and then cannot be sent again.
const usedJustNow = time.Millisecond

// acquire gets a connection within ConnectTimeout and ctx. While the server is
// away, or refuses because it starts up, shuts down or is full, it is asked
// again.
func (n *node) acquire(ctx context.Context) (conn *pgxpool.Conn, err error) {
	return n.acquireFor(ctx, false)
}

// acquireFor is acquire. repeatable says that what comes next is sent again if
// the connection turns out to be dead.
func (n *node) acquireFor(ctx context.Context, repeatable bool) (conn *pgxpool.Conn, err error) {
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	patience := newPatience(ctx, n, repeatable)
	if conn, err = n.px.Acquire(patience); err != nil {
		err = n.acquireAgain(patience, err, func(ctx context.Context) error {
			conn, err = n.px.Acquire(ctx)
			return err
		})
	}
	if err := n.acquired(ctx, patience, err); err != nil {
		return nil, err
	}
	return conn, nil
}

// acquireBy is acquire for others that take a connection from the pool.
func (n *node) acquireBy(ctx context.Context, try func(context.Context) error) error {
	patience := newPatience(ctx, n, false)
	err := try(patience)
	if err != nil {
		err = n.acquireAgain(patience, err, try)
	}
	return n.acquired(ctx, patience, err)
}

// acquired ends an acquire, whose error it explains.
func (n *node) acquired(ctx context.Context, patience *patience, err error) error {
	waited, looks := patience.end()
	n.acquireWait.Observe(waited)
	if err != nil {
		return n.acquireFailed(ctx, err, waited, looks)
	}
	return nil
}

// acquireAgain tries again after err, until patience ends.
func (n *node) acquireAgain(patience *patience, err error, try func(context.Context) error) error {
	if patience.Err() != nil {
		return err
	}
	_ = patience.Done() // arms it
	for attempt := 0; err != nil; attempt++ {
		switch {
		case patience.Err() != nil, isPermanent(err):
			return err
		case errors.Is(err, errModeFound): // the next one is made in the right mode
		case refusesSettings(err) && *n.mode.Load() == PoolModeAuto:
			n.setMode(PoolModeTransaction)
		case !n.primary:
			return err // the primary answers instead
		case reconnect.Wait(patience, attempt) != nil:
			return err
		}
		err = try(patience)
	}
	return nil
}

// isPermanent reports whether a connection attempt will fail the same way
// again.
func isPermanent(err error) bool {
	if errors.Is(err, puddle.ErrClosedPool) {
		return true
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pgErr.Code {
		case "28P01", "28000", "3D000", "42501", "42704", "22023":
			return true // password, role, database, privilege, setting
		}
		return strings.Contains(pgErr.Message, "Tenant or user not found")
	}
	text := err.Error()
	return strings.Contains(text, "x509:") || strings.Contains(text, "server refused TLS connection") ||
		strings.Contains(text, "pgpool: password:")
}

// acquireFailed says why there is no connection. looks is how often the patience
// was looked at: twice if all that was waited for is a free connection.
func (n *node) acquireFailed(ctx context.Context, err error, waited time.Duration, looks int32) error {
	if errors.Is(err, puddle.ErrClosedPool) {
		return ErrClosed
	}
	if isPermanent(err) {
		return n.describeConnect(err)
	}
	if last := n.lastConnectErr.Load(); last != nil && isContext(err) {
		err = *last // more telling than the end of our patience
	}
	if !isContext(err) {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", n.describeConnect(err), ended(ctx))
		}
		return n.describeConnect(err)
	}
	cause := err
	if ctx.Err() != nil {
		cause = ended(ctx)
	}
	if st := n.px.Stat(); looks > 2 && st.AcquiredConns() < st.MaxConns() {
		return fmt.Errorf("%w: %s: no connection was made within %v: %w", ErrUnavailable, n.name, waited.Round(time.Millisecond), cause)
	}
	n.exhausted.Add(1)
	return &ExhaustedError{
		Waited: waited, MaxConns: n.pool.cfg.MaxConns, Waiting: n.waiting.size(), Holders: n.holders(),
		InTx: txFrom(ctx, n.pool) != nil, Err: cause,
	}
}

func (n *node) describeConnect(err error) error {
	if hint := connectHint(n.px.Config().ConnConfig.Host, err); hint != "" {
		return fmt.Errorf("%w: %s: %w (%s)", ErrUnavailable, n.name, err, hint)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, n.name, err)
}

// connectFailed notes why a connection could not be made, for who waits for one.
func (n *node) connectFailed(err error) {
	n.lastConnectErr.Store(&err)
	n.errs.count(err)
}

// shouldPing decides on an idle connection.
func (n *node) shouldPing(ctx context.Context, params pgxpool.ShouldPingParams) bool {
	p := patienceOf(ctx)
	ping := n.doubts(p, params)
	if ping && p != nil {
		p.shown = true
	}
	return ping
}

// doubts reports whether an idle connection may be dead. A look at the socket
// tells whether the server has closed it.
func (n *node) doubts(p *patience, params pgxpool.ShouldPingParams) bool {
	w := wireOf(params.Conn)
	if w.flagged.Load() {
		w.settle()
		w.flagged.Store(false)
		return true
	}
	if p != nil && p.repeatable && params.IdleDuration < usedJustNow {
		return false
	}
	switch w.peeker.peek() {
	case alive:
		return params.IdleDuration > pingIdle
	case dead:
		w.doomed.Store(true)
		return false
	case pending:
		w.suspect.Store(true)
		return true
	default:
		return params.IdleDuration > time.Second
	}
}

// prepareConn drops connections that must not be used again.
func (n *node) prepareConn(_ context.Context, conn *pgx.Conn) (bool, error) {
	w := wireOf(conn)
	w.suspect.Store(false)
	if w.doomed.Load() {
		n.peeked.Add(1)
		return false, nil
	}
	return true, nil
}

// holders lists who holds connections, longest first.
func (n *node) holders() []Holder {
	now := clock()
	var list []Holder
	n.conns.Lock()
	defer n.conns.Unlock()
	for w, conn := range n.conns.set {
		u := &w.usage
		u.mu.Lock()
		if u.acquired != 0 {
			list = append(list, Holder{
				PID: conn.PID(), Held: time.Duration(now - u.acquired), SQL: u.sql,
				Active: u.started != 0, InTx: u.inTx, Stack: stackOf(u.callers[:u.depth]),
			})
		}
		u.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b Holder) int { return cmp.Compare(b.Held, a.Held) })
	return list
}

// stackOf names the callers outside of this package and pgx, innermost first.
func stackOf(pcs []uintptr) string {
	if len(pcs) == 0 {
		return ""
	}
	var places []string
	frames := runtime.CallersFrames(pcs)
	for {
		frame, more := frames.Next()
		inside := strings.Contains(frame.Function, "/pgpool.") || strings.Contains(frame.Function, "/pgxpool.") || strings.HasPrefix(frame.Function, "runtime.")
		if !inside && frame.File != "" {
			places = append(places, fmt.Sprintf("%s:%d", frame.File, frame.Line))
		}
		if !more || len(places) == 3 {
			return strings.Join(places, " < ")
		}
	}
}
