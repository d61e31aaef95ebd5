package pgpool_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// What the server answers to COMMIT counts: a violated constraint is an error,
// a conflict runs the transaction again, and neither is looked for afterwards.
func TestCommitIsRefused(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create table t (id int unique deferrable initially deferred)", "create table c (id int)", "create sequence s",
		"create function conflict() returns trigger language plpgsql as $$ begin if nextval('s') = 1 then raise exception 'x' using errcode = '40001'; end if; return null; end $$",
		"create constraint trigger late after insert on c deferrable initially deferred for each row execute function conflict()")
	for _, c := range []struct {
		sql, code string
		runs      int
	}{
		{"insert into t values (1), (1)", "23505", 1},
		{"insert into c values (1)", "", 2},
	} {
		runs := 0
		err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			runs++
			_, err := tx.Exec(ctx, c.sql)
			return err
		})
		if pgpool.Code(err) != c.code || (err == nil) != (c.code == "") || runs != c.runs {
			t.Errorf("%s: %v after %d runs, want code %q after %d", c.sql, err, runs, c.code, c.runs)
		}
	}
	if s := p.Stats(); s.CommitsResolved != 0 || s.AcquiredConns != 0 {
		t.Errorf("Stats = %+v, want no commit looked for", s)
	}
}

// The connection is found to be gone when COMMIT is to be sent: nothing has to
// be looked for.
func TestCommitDoesNotLeave(t *testing.T) {
	t.Parallel()
	p, proxy := proxied(t)
	mustExec(t, p, "create table t (id int)")
	runs := 0
	err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		runs++
		if _, err := tx.Exec(ctx, "insert into t values (1)"); err != nil {
			return err
		}
		if runs == 1 {
			proxy.Reset()
			pids := []uint32{tx.Conn().PgConn().PID()}
			eventually(t, "the reset has arrived", func() bool { return len(p.Silent(pids)) == 0 })
		}
		return nil
	})
	if err != nil || runs != 2 {
		t.Errorf("got %v after %d runs, want success at the second", err, runs)
	}
	if n, err := pgpool.Get[int](t.Context(), p, "select count(*)::int from t"); err != nil || n != 1 {
		t.Errorf("%d rows, %v, want 1", n, err)
	}
	if n := p.Stats().CommitsResolved; n != 0 {
		t.Errorf("%d commits were looked for, want none", n)
	}
}

// A context that ends while COMMIT is on its way does not interrupt it.
func TestCommitIsNotCancelled(t *testing.T) {
	t.Parallel()
	p, proxy := proxied(t)
	mustExec(t, p, "create table t (id int)")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if m.Dir == faultproxy.ToServer && m.Executes("commit") {
			cancel()
		}
		return faultproxy.Pass
	})
	proxy.Latency(20*time.Millisecond, 0)
	if err := p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into t values (1)")
		return err
	}); err != nil || ctx.Err() == nil {
		t.Errorf("got %v, context %v, want success though the context ended", err, ctx.Err())
	}
	if s := p.Stats(); s.Cancelled != 0 || s.CommitsResolved != 0 || s.TxCommitted != 1 {
		t.Errorf("Stats = %+v, want a commit that nobody disturbed", s)
	}
}

// A statement that is given up for its time limit ends the transaction, even if
// its connection has to be closed for it; so does a write in a transaction that
// is read-only by wish. A server that is read-only by itself is asked again: the
// next connection may lead to another one.
func TestTransactionIsNotRunAgain(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
	p := newPool(t, pgpool.Config{URL: proxy.URL(server.URL()), QueryTimeout: 200 * time.Millisecond})
	mustExec(t, p, "create table t (id int)")
	write := func(runs *int, opts ...pgpool.TxOption) error {
		return p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			*runs++
			if _, err := tx.Exec(ctx, "select 'ready'"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "insert into t values (1)")
			return err
		}, opts...)
	}
	hook, _ := once(func(m *faultproxy.Message) bool {
		return m.Dir == faultproxy.ToServer && m.Executes("insert into t values (1)")
	}, faultproxy.Stall)
	proxy.OnMessage(hook)
	runs := 0
	if err := write(&runs); !errors.Is(err, pgpool.ErrQueryTimeout) || runs != 1 {
		t.Errorf("stalled: %v after %d runs, want ErrQueryTimeout after 1", err, runs)
	}
	proxy.OnMessage(nil)
	runs = 0
	if err := write(&runs, pgpool.ReadOnly()); pgpool.Code(err) != "25006" || runs != 1 {
		t.Errorf("read-only by wish: %v after %d runs, want 25006 after 1", err, runs)
	}
	mustExec(t, p, "alter database postgres set default_transaction_read_only = on")
	proxy.Reset()
	runs = 0
	if err := write(&runs, pgpool.MaxAttempts(3)); pgpool.Code(err) != "25006" || runs != 3 {
		t.Errorf("a read-only server: %v after %d runs, want 25006 after 3", err, runs)
	}
}

// TestIDFromTheFuture: after a crash the server may not have given out yet the id
// of a transaction that was lost in it.
func TestIDFromTheFuture(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	if committed, err := p.AskOutcome(t.Context(), "4000000000"); committed || err != nil {
		t.Errorf("got %v, %v, want that it did not happen", committed, err)
	}
}
