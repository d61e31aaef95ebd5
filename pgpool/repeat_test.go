package pgpool_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// cutFirst cuts the connection in place of the first statement that contains
// this.
func cutFirst(proxy *faultproxy.Proxy, what string) {
	var cut atomic.Bool
	proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if m.Dir == faultproxy.ToServer && strings.Contains(m.SQL, what) && m.Executes(m.SQL) && cut.CompareAndSwap(false, true) {
			return faultproxy.Cut
		}
		return faultproxy.Pass
	})
}

// TestRepeatedNotify: what a read-only transaction permits is kept when a query
// is sent again.
func TestRepeatedNotify(t *testing.T) {
	t.Parallel()
	p, proxy := proxied(t)
	cutFirst(proxy, "pg_notify")
	url := p.Config().URL
	l, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close(context.Background())
	if _, err := l.Exec(t.Context(), "listen ch"); err != nil {
		t.Fatal(err)
	}
	_, err = pgpool.Get[string](t.Context(), p, "select pg_notify('ch', 'x')::text")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if n, nerr := l.WaitForNotification(ctx); nerr != nil && err == nil {
		t.Errorf("Get succeeded, but there was no notification: %v %v", n, nerr)
	}
}

// TestRepeatedLargeObject: before PostgreSQL 16 a read-only transaction may
// write large objects.
func TestRepeatedLargeObject(t *testing.T) {
	t.Parallel()
	p, proxy := proxied(t)
	cutFirst(proxy, "lo_from_bytea")
	oid, err := pgpool.Get[uint32](t.Context(), p, "select lo_from_bytea(0, 'abc')")
	if err == nil {
		n, err := pgpool.Get[int](t.Context(), p, "select count(*)::int from pg_largeobject_metadata where oid = $1", oid)
		if n != 1 || err != nil {
			t.Errorf("the large object %d was acknowledged and is not there: %d, %v", oid, n, err)
		}
	}
}

// TestRepeatedCall: who calls what cannot be in a transaction is told of the
// lost connection, since it may have run.
func TestRepeatedCall(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{"call pr()", "vacuum t"} {
		p, proxy := proxied(t)
		mustExec(t, p, "create table t (id int)", "create procedure pr() language plpgsql as $$ begin commit; insert into t values (1); end $$")
		cutFirst(proxy, sql)
		_, err := pgpool.Select[string](t.Context(), p, sql)
		if c := pgpool.Code(err); c != "" {
			t.Errorf("%s: the caller is told %v instead of the lost connection", sql, err)
		}
	}
}

// TestSelectThatWritesAfterFarewell: a connection that was closed while idle is
// not used for a SELECT either, which may call a function that writes.
func TestSelectThatWritesAfterFarewell(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	p := newPool(t, pgpool.Config{URL: server.URL(), MaxConns: 1, MinConns: 1})
	other := newPool(t, pgpool.Config{URL: server.URL(), MaxConns: 1, MinConns: 1})
	mustExec(t, p, "create sequence s")
	for _, sql := range []string{"-- looked at\nselect nextval('s')", "select nextval('s')"} {
		for range 2 {
			if _, err := pgpool.Get[int64](t.Context(), p, sql); err != nil { // prepared
				t.Fatal(err)
			}
		}
		pid, err := pgpool.Get[int](t.Context(), p, "select pg_backend_pid()")
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, other, fmt.Sprintf("select pg_terminate_backend(%d)", pid))
		time.Sleep(30 * time.Millisecond) // the farewell has long arrived; idle for less than 100 ms
		_, err = pgpool.Get[int64](t.Context(), p, sql)
		if err != nil {
			t.Errorf("%q on a connection that was closed while idle: %v", sql, err)
		}
	}
}

// TestTokenOfResolvedCommit: a read that must see the write waits for it,
// though the reply to COMMIT was lost.
func TestTokenOfResolvedCommit(t *testing.T) {
	t.Parallel()
	p, proxy := proxied(t)
	mustExec(t, p, "create table t (id int)")
	var cut atomic.Bool
	proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if m.Completes("COMMIT") && cut.CompareAndSwap(false, true) {
			return faultproxy.Cut
		}
		return faultproxy.Pass
	})
	ctx := pgpool.WithToken(t.Context(), "")
	err := p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into t values (1)")
		return err
	})
	if err != nil || p.Stats().CommitsResolved != 1 || pgpool.TokenFrom(ctx) == "" {
		t.Errorf("got %v, %d commits resolved, Token %q; want one, and a Token", err, p.Stats().CommitsResolved, pgpool.TokenFrom(ctx))
	}
}

// TestLedgerSparesOthers: after a crash the id of a transaction may be
// another's, who is not hurried.
func TestLedgerSparesOthers(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	p := newPool(t, pgpool.Config{URL: server.URL()})
	if err := pgpool.CreateLedger(t.Context(), p, "ledger"); err != nil {
		t.Fatal(err)
	}
	mustExec(t, p, "create table t (id int)")
	// A bystander in a life of the server after ours, which was given the id of
	// our transaction that was lost in the crash.
	bystander, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer bystander.Close(context.Background())
	tx, err := bystander.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var xid string
	if err := tx.QueryRow(t.Context(), "select pg_current_xact_id()::text").Scan(&xid); err != nil {
		t.Fatal(err)
	}
	committed, err := p.FindOutcome(t.Context(), xid, "7000/00000001/1.0", "ledger", pgpool.NewLedgerID())
	if committed || err != nil {
		t.Errorf("FindOutcome = %v, %v, want false: it is not in the ledger", committed, err)
	}
	if _, err := tx.Exec(t.Context(), "insert into t values (1)"); err != nil {
		t.Errorf("a bystander's session was ended: %v", err)
	}
}
