package pgpool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/internal/backoff"
)

// DefaultMaxAttempts is how often Transaction runs its function at most.
const DefaultMaxAttempts = 10

// Transaction runs fn in a transaction and returns what fn returned, once the
// transaction is known to stand. Otherwise nothing happened:
//
//   - fn returns an error, panics or ends its goroutine: rolled back. The panic
//     goes on.
//   - serialization failure, deadlock, a connection lost before COMMIT was
//     sent: rolled back and run again, up to MaxAttempts times, with pauses. fn
//     therefore must not do anything outside of the database that cannot be
//     done twice; see AfterCommit.
//   - the connection is lost during COMMIT: the server is asked what became of
//     the transaction. If it stands, that is success; if not, it is run again.
//     Only if the server cannot tell, the error is ErrCommitUnknown, and nothing
//     is repeated; with Ledger that does not happen. From COMMIT on ctx does not
//     interrupt: to find out takes up to 30 s.
//
// BEGIN travels with the first statement, so a transaction of n statements
// takes n+1 round trips, and none at all if fn runs no statement.
//
// The context that fn gets carries the transaction: calls of the pool's
// methods with it, and Transaction itself, join it. A nested Transaction is a
// savepoint; of its options only MaxAttempts has a meaning there, and is
// ignored. If it fails and cannot be rolled back, because its rows are still open
// or a goroutine of fn is still at it, the outer one is rolled back too. fn must
// use tx, or that context, for one thing at a time (ErrTxBusy).
// Outside takes the transaction out of a context.
func Transaction[T any](ctx context.Context, p *Pool, fn func(ctx context.Context, tx pgx.Tx) (T, error), opts ...TxOption) (T, error) {
	var value T
	err := p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		value, err = fn(ctx, tx)
		return err
	}, opts...)
	if err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}

// InTx is Transaction for a function without a value.
func (p *Pool) InTx(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error, opts ...TxOption) error {
	if t := txFrom(ctx, p); t != nil {
		o := applyTxOptions(opts)
		if o.err != nil {
			return o.err
		}
		if o.begin != plainBegin || o.ledger != "" || o.claims != nil {
			return errNestedOptions
		}
		return t.nested(ctx, fn)
	}
	o := applyTxOptions(opts)
	if o.err != nil {
		return o.err
	}
	for attempt := 1; ; attempt++ {
		again, err := p.attempt(ctx, o, attempt == o.attempts, fn)
		if again == nil || attempt >= o.attempts || ctx.Err() != nil {
			return err
		}
		p.tx.retried.Add(1)
		p.opts.logger.DebugContext(ctx, "transaction runs again", "attempt", attempt+1, "error", err)
		if again.Wait(ctx, attempt-1) != nil {
			return err
		}
	}
}

var errNestedOptions = errors.New("pgpool: a nested transaction is a savepoint of the outer one and cannot have an isolation level, access mode, claims or ledger of its own")

// The pauses before another attempt.
var (
	afterConflict = &backoff.Policy{Min: 2 * time.Millisecond, Max: 100 * time.Millisecond}
	afterLoss     = &backoff.Policy{Min: time.Millisecond, Max: 250 * time.Millisecond}
)

// attempt runs fn once. If it is to be run again, again says with which pauses; after
// the last time it is not.
func (p *Pool) attempt(ctx context.Context, o txOptions, last bool, fn func(context.Context, pgx.Tx) error) (again *backoff.Policy, err error) {
	t, err := p.begin(ctx, o, last)
	if err != nil {
		return nil, err
	}
	returned := false
	defer func() {
		if !returned { // a panic, or runtime.Goexit
			p.tx.rolledBack.Add(1)
			t.rollback(ctx)
		}
	}()
	err = fn(txContext{ctx, t}, t)
	returned = true

	if err != nil {
		t.rollback(ctx)
		if again = t.verdict(err); again == nil {
			p.tx.rolledBack.Add(1)
		}
		return again, err
	}
	again, err = t.commit(ctx)
	if err == nil {
		p.tx.committed.Add(1)
		t.runHooks(ctx)
	}
	return again, err
}

// begin takes a connection and queues BEGIN and what belongs to it; it is sent
// with the first statement.
func (p *Pool) begin(ctx context.Context, o txOptions, last bool) (*tx, error) {
	n := p.primary
	conn, err := n.acquireFor(ctx, !last)
	if err != nil {
		return nil, fmt.Errorf("pgpool: transaction: %w", err)
	}
	c := conn.Conn()
	t := &tx{pool: p, node: n, conn: conn, c: c, w: wireOf(c), opts: o}
	prefix := &t.w.prefix
	prefix.reset()
	if n.preparesCommit() && !prefix.has(commitPrepared.Name) {
		prefix.add(stmt{sql: commitPrepared.SQL, name: commitPrepared.Name, late: true})
	}
	named := func(s stmt, name string) stmt {
		if !n.isTransactionMode() {
			s.name = name
		}
		return s
	}
	if o.begin == plainBegin {
		prefix.add(named(stmt{sql: o.begin}, "pgpool_begin"))
	} else {
		prefix.add(stmt{sql: o.begin})
	}
	t.w.readOnly = o.readOnly
	switch server := n.server.Load(); {
	case o.readOnly:
	case o.ledger != "":
		t.id = newLedgerID()
		t.asksEpoch = server.epoch && (t.w.epoch == "" || n.isTransactionMode())
		prefix.add(stmt{sql: ledgerInsert(o.ledger, t.asksEpoch), args: []string{t.id}, want: true})
	case !server.xid:
	case t.w.epoch != "" && !n.isTransactionMode():
		prefix.add(named(stmt{sql: xidSQL, want: true}, "pgpool_xid"))
	default:
		t.asksEpoch = true
		prefix.add(stmt{sql: xidEpochSQL, want: true})
	}
	if n.isTransactionMode() && p.cfg.StatementTimeout > 0 {
		prefix.add(stmt{sql: "select set_config('statement_timeout', $1, true)", args: []string{strconv.FormatInt(p.cfg.StatementTimeout.Milliseconds(), 10)}})
	}
	if o.claims != nil {
		prefix.add(stmt{sql: claimsSQL, args: []string{o.claimsJSON, o.role}})
	}
	return t, nil
}

// nested runs fn in a savepoint.
func (t *tx) nested(ctx context.Context, fn func(context.Context, pgx.Tx) error) error {
	sp, err := t.savepoint(ctx)
	if err != nil {
		return err
	}
	sp.managed = true
	returned := false
	defer func() {
		if !returned {
			_ = sp.undo(ctx)
		}
	}()
	err = fn(ctx, sp)
	returned = true
	if err != nil {
		if undoErr := sp.undo(ctx); undoErr != nil {
			return errors.Join(err, undoErr)
		}
		return err
	}
	if err = sp.release(ctx); err != nil { // fn hid the error of a statement, or is not done with the transaction
		sp.ended.Store(false)
		_ = sp.undo(ctx)
	}
	return err
}

// A txContext carries an open transaction.
type txContext struct {
	context.Context

	tx *tx
}

// txKey finds the transaction of a pool in a context, anyTxKey the innermost
// of any pool.
type (
	txKey    struct{ pool *Pool }
	anyTxKey struct{}
)

// Value implements context.Context.
func (c txContext) Value(key any) any {
	switch key := key.(type) {
	case txKey:
		if key.pool == c.tx.pool {
			return c.tx
		}
	case anyTxKey:
		return c.tx
	}
	return c.Context.Value(key)
}

// txFrom returns the open transaction of p that ctx carries, or nil.
func txFrom(ctx context.Context, p *Pool) *tx {
	if t, ok := ctx.Value(txKey{p}).(*tx); ok && !t.done.Load() {
		return t
	}
	return nil
}

// Outside returns a context without the transaction that ctx carries: calls
// with it use connections of their own. Inside a transaction such a call holds
// a second connection; if all callers do so at once, they wait for one another
// until ConnectTimeout ends it.
func Outside(ctx context.Context) context.Context { return outside{ctx} }

type outside struct{ context.Context }

// Value hides transactions.
func (o outside) Value(key any) any {
	switch key.(type) {
	case txKey, anyTxKey:
		return nil
	default:
		return o.Context.Value(key)
	}
}
