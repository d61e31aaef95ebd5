package pgpool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pedro-go/pedro/internal/backoff"
)

// commit ends the transaction. If it is to be run again, again says with which
// pauses.
func (t *tx) commit(ctx context.Context) (again *backoff.Policy, err error) {
	if err := t.enter(); err != nil { // its rows are still open, or another goroutine uses it
		t.rollback(ctx)
		return nil, fmt.Errorf("pgpool: commit: %w", err)
	}
	switch {
	case t.unsent():
		t.finish()
		return nil, nil
	case t.lost || t.c.IsClosed():
		t.rollback(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("pgpool: commit: %w", ended(ctx))
		}
		return afterLoss, fmt.Errorf("%w: the connection was lost before commit", ErrUnavailable)
	case ctx.Err() != nil:
		t.rollback(ctx)
		return nil, fmt.Errorf("pgpool: commit: %w", ended(ctx))
	case t.doomed.Load():
		t.rollback(ctx)
		return t.verdict(nil), fmt.Errorf("pgpool: commit: a nested transaction failed and could not be undone: %w", pgx.ErrTxCommitRollback)
	case t.c.PgConn().TxStatus() == 'I' && t.verdict(nil) == nil:
		t.rollback(ctx)
		return nil, fmt.Errorf("pgpool: commit: the transaction is no longer open, as after a statement that is COMMIT or ROLLBACK; what ran before that may stand: %w", ErrTxManaged)
	case t.c.PgConn().TxStatus() != 'T': // fn hid the error of a statement
		t.rollback(ctx)
		return t.verdict(nil), fmt.Errorf("pgpool: commit: an earlier statement failed: %w", pgx.ErrTxCommitRollback)
	}
	t.w.prefix.drop() // a savepoint that is still to be released ends with the transaction
	if t.asksEpoch {
		t.identity() // for the next transactions on this connection
	}
	// The outcome must be known, so the context cannot interrupt from here on.
	ctx = context.WithoutCancel(ctx)
	runs := t.w.runs.Load()
	tag, err := t.commitStatement(ctx)
	switch {
	case err == nil && tag == "ROLLBACK":
		t.finish()
		return t.verdict(nil), fmt.Errorf("pgpool: commit: an earlier statement failed: %w", pgx.ErrTxCommitRollback)
	case err == nil:
		t.finish()
		return nil, nil
	case isServerReply(err): // such as a deferred constraint
		err = t.note(ctx, err)
		t.rollback(ctx)
		return t.verdict(err), err
	case t.w.runs.Load() == runs || t.opts.readOnly: // COMMIT never left, or it does not matter
		t.rollback(ctx)
		return afterLoss, fmt.Errorf("%w: the connection was lost before commit: %w", ErrUnavailable, err)
	}
	o := outcome{ledger: t.opts.ledger, id: t.id}
	o.xid, o.epoch = t.identity()
	t.rollback(ctx) // only gives the dead connection back
	return t.resolve(ctx, o, err)
}

// commitPrepared is COMMIT as it is prepared with the first BEGIN of a connection,
// which saves the server from parsing it. It has a field, which is never read,
// because pgconn asks the server for a description where there are none.
var commitPrepared = &pgconn.StatementDescription{Name: "pgpool_commit", SQL: "commit", Fields: make([]pgconn.FieldDescription, 1)}

// preparesCommit reports whether COMMIT is prepared: not behind a pooler, and not
// where somebody removes prepared statements within transactions.
func (n *node) preparesCommit() bool { return !n.isTransactionMode() && !n.deallocates.Load() }

// commitStatement sends COMMIT and returns what the server made of it.
func (t *tx) commitStatement(ctx context.Context) (string, error) {
	o := t.node.observer
	ctx = o.TraceQueryStart(ctx, t.c, pgx.TraceQueryStartData{SQL: "commit"})
	tag, err := t.sendCommit(ctx)
	o.TraceQueryEnd(ctx, t.c, pgx.TraceQueryEndData{CommandTag: tag, Err: err})
	return tag.String(), err
}

func (t *tx) sendCommit(ctx context.Context) (pgconn.CommandTag, error) {
	h := holderFrom(ctx)
	if t.opts.readOnly {
		h = nil
	}
	if h == nil && t.node.preparesCommit() && t.w.prefix.has(commitPrepared.Name) {
		tag, err := t.c.PgConn().ExecStatement(ctx, commitPrepared, nil, nil, nil).Close()
		if Code(err) == "26000" {
			t.node.deallocates.Store(true)
		}
		return tag, err
	}
	sql := "commit"
	if h != nil {
		// One message, so the position of the commit costs no round trip. It also
		// costs nothing if it is lost: the reply to COMMIT comes first.
		sql += "; " + lsnSQL
	}
	results, err := t.c.PgConn().Exec(ctx, sql).ReadAll()
	if len(results) == 0 || results[0].Err != nil {
		return pgconn.CommandTag{}, err
	}
	if h != nil {
		var lsn uint64
		if len(results) == 2 && len(results[1].Rows) == 1 {
			lsn = parseLSN(string(results[1].Rows[0][0]))
		}
		h.note(lsn)
	}
	return results[0].CommandTag, nil
}

// identity returns what BEGIN told about the transaction.
func (t *tx) identity() (xid, epoch string) {
	if answer := t.w.prefix.row(); len(answer) > 0 {
		xid = answer[0]
		if t.asksEpoch && len(answer) > 1 && answer[1] != t.w.epoch {
			t.w.epoch = answer[1]
			t.node.saw(answer[1])
		}
	}
	return xid, t.w.epoch
}

// resolve finds out what became of a COMMIT whose reply was lost.
func (t *tx) resolve(ctx context.Context, o outcome, lost error) (*backoff.Policy, error) {
	p := t.pool
	start := time.Now()
	committed, err := o.find(ctx, t.node)
	if err != nil {
		p.tx.unknown.Add(1)
		p.opts.logger.ErrorContext(ctx, "commit outcome unknown", "xid", o.xid, "error", err)
		return nil, fmt.Errorf("%w: %w: %w", ErrCommitUnknown, lost, err)
	}
	p.tx.resolved.Add(1)
	p.opts.logger.InfoContext(ctx, "lost commit resolved", "xid", o.xid, "committed", committed, "took", time.Since(start))
	if committed {
		t.node.noteLost(ctx)
		return nil, nil
	}
	return afterLoss, fmt.Errorf("%w: the connection was lost during commit, which did not happen: %w", ErrUnavailable, lost)
}

// resolveTimeout bounds the search for an outcome: long enough for a server
// to recover from a crash.
const resolveTimeout = 30 * time.Second

// An outcome is a transaction whose COMMIT was sent and not answered.
type outcome struct {
	xid, epoch string
	ledger, id string
}

var (
	errOtherEpoch = errors.New("the server crashed or was replaced meanwhile, so its transaction ids may mean others")
	errNoXID      = errors.New("the server does not tell transaction ids and their fate")
	errInProgress = errors.New("the transaction is still in progress")
	errStandby    = errors.New("the server is a standby")
)

// find asks the server until it tells.
func (o outcome) find(ctx context.Context, n *node) (committed bool, err error) {
	if o.ledger == "" && (o.xid == "" || o.epoch == "") {
		return false, errNoXID
	}
	if _, err := strconv.ParseUint(o.xid, 10, 64); err != nil {
		return false, errNoXID
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	polls := backoff.Policy{Min: 2 * time.Millisecond, Max: 100 * time.Millisecond}
	for attempt := 0; ; attempt++ {
		committed, err = o.ask(ctx, n, attempt)
		switch {
		case err == nil, errors.Is(err, errOtherEpoch), errors.Is(err, ErrClosed):
			return committed, err
		case polls.Wait(ctx, attempt) != nil:
			return false, err
		}
	}
}

// ask asks once. Any error but errOtherEpoch may go away.
func (o outcome) ask(ctx context.Context, n *node, attempt int) (committed bool, err error) {
	conn, err := n.acquire(Outside(ctx))
	if err != nil {
		return false, err
	}
	defer conn.Release()
	// One message, so that the status is of the epoch that it says. A status
	// that is an error (an id that was never given out) leaves the first result.
	results, err := conn.Conn().PgConn().Exec(ctx, "select pg_is_in_recovery()::text, "+epochSQL+", "+recoveredSQL+"; select pg_xact_status('"+o.xid+"'::xid8)").ReadAll()
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return false, fmt.Errorf("no answer: %w", err)
	}
	standby, epoch, recovered := string(results[0].Rows[0][0]) == "true", string(results[0].Rows[0][1]), string(results[0].Rows[0][2])
	if standby {
		return false, errStandby
	}
	n.saw(epoch)
	if err != nil && Code(err) != "22023" {
		return false, err
	}
	status := "aborted" // an id from the future: the server lost the transaction in a crash
	if err == nil {
		status = string(results[1].Rows[0][0])
	}
	if o.ledger == "" && epoch != o.epoch && status != "aborted" {
		return o.afterCrash(n, epoch, recovered, status)
	}
	if status == "in progress" && epoch == o.epoch { // else it is another's, and the fence tells
		o.hurry(ctx, conn.Conn(), attempt)
		return false, errInProgress
	}
	if o.ledger != "" {
		return o.fence(ctx, conn.Conn())
	}
	switch status {
	case "aborted":
		return false, nil
	case "committed":
		return true, nil
	default: // too old to know
		return false, errOtherEpoch
	}
}

// afterCrash judges an id in the life of the server that followed ours. What
// the recovery found in the log has kept its id: below recovered, the first id
// that was given out afterwards, a status is that of our transaction. From
// there on it is somebody else's, and ours is lost.
//
// That holds for one crash. If the pool saw yet another life in between, or
// the server does not tell what it recovered, nobody knows. Of a life in between
// that nobody here saw, which was long enough for others to commit under our id and
// too short to be asked, nothing tells: the doc of the package says so.
func (o outcome) afterCrash(n *node, epoch, recovered, status string) (committed bool, err error) {
	if recovered == "" || !n.follows(o.epoch, epoch) {
		return false, errOtherEpoch
	}
	xid, _ := strconv.ParseUint(o.xid, 10, 64)
	first, err := strconv.ParseUint(recovered, 10, 64)
	switch {
	case err != nil:
		return false, errOtherEpoch
	case xid >= first:
		return false, nil
	case status == "committed":
		return true, nil
	default:
		return false, errOtherEpoch
	}
}

// hurry ends the session of a transaction that will never hear its COMMIT. One
// that is busy with it gets more time.
func (o outcome) hurry(ctx context.Context, conn *pgx.Conn, attempt int) {
	state := "state like 'idle%'"
	switch {
	case attempt < 3:
		return
	case attempt > 15:
		state = "true"
	}
	id, _ := strconv.ParseUint(o.xid, 10, 64)
	_, _ = conn.PgConn().Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where backend_xid::text = '"+
		strconv.FormatUint(id&0xffffffff, 10)+"' and pid <> pg_backend_pid() and "+state).ReadAll() // the next poll tells whether it helped
}
