package pgpool_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// proxied starts a pool behind a proxy.
func proxied(t *testing.T) (*pgpool.Pool, *faultproxy.Proxy) {
	t.Helper()
	server := pgpooltest.StartServer(t)
	proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
	return newPool(t, pgpool.Config{URL: proxy.URL(server.URL())}), proxy
}

// once acts on the first message that matches.
func once(match func(*faultproxy.Message) bool, verdict faultproxy.Verdict) (hook func(*faultproxy.Message) faultproxy.Verdict, hit *atomic.Bool) {
	hit = new(atomic.Bool)
	return func(m *faultproxy.Message) faultproxy.Verdict {
		if match(m) && hit.CompareAndSwap(false, true) {
			return verdict
		}
		return faultproxy.Pass
	}, hit
}

// The connection is lost after the query has run. It may be repeated only if it
// did not write.
func TestLostRepliesOfQueries(t *testing.T) {
	t.Parallel()
	p, proxy := proxied(t)
	mustExec(t, p, "create table t (id serial, n int)", "create sequence s",
		"create function sneaky() returns int language sql volatile as 'insert into t (n) values (1) returning n'")
	// answered finds the end of any reply but those of BEGIN and ROLLBACK.
	answered := func(m *faultproxy.Message) bool {
		return m.Dir == faultproxy.ToClient && (strings.HasPrefix(m.Tag, "SELECT") || strings.HasPrefix(m.Tag, "INSERT"))
	}
	for _, c := range []struct {
		sql    string
		writes bool
	}{
		{"select 1", false},
		{"select n from (values (1)) v (n) where n = $1", false},
		{"insert into t (n) values (1) returning n", true},
		{"insert into t (n) values ($1) returning n", true},
		{"with w as (insert into t (n) values (1) returning n) select n from w", true},
		{"select sneaky()", true},
		{"select nextval('s')::int", true},
	} {
		var args []any
		if strings.Contains(c.sql, "$1") {
			args = append(args, 1)
		}
		for name, call := range map[string]func() error{
			"Get":    func() error { _, err := pgpool.Get[int](t.Context(), p, c.sql, args...); return err },
			"Select": func() error { _, err := pgpool.Select[int](t.Context(), p, c.sql, args...); return err },
			"QueryRow": func() error {
				return p.QueryRow(t.Context(), c.sql, args...).Scan(new(int))
			},
			"Query": func() error {
				rows, err := p.Query(t.Context(), c.sql, args...)
				if err != nil {
					return err
				}
				_, err = pgx.CollectRows(rows, pgx.RowTo[int])
				return err
			},
			"simple": func() error {
				_, err := pgpool.Get[int](t.Context(), p, c.sql, append([]any{pgx.QueryExecModeExec}, args...)...)
				return err
			},
		} {
			mustExec(t, p, "truncate t restart identity", "alter sequence s restart")
			hook, hit := once(answered, faultproxy.Cut)
			proxy.OnMessage(hook)
			err := call()
			proxy.OnMessage(nil)
			if !hit.Load() {
				t.Errorf("%s %s: nothing was cut", name, c.sql)
			}
			// The first row may have reached the caller of Query before the cut.
			if name != "Query" && name != "QueryRow" || c.writes {
				if c.writes != (err != nil) || pgpool.Code(err) == "25006" { // which only the repetition met
					t.Errorf("%s %s: %v", name, c.sql, err)
				}
			}
			count, err2 := pgpool.Get[int](t.Context(), p, "select count(*)::int from t")
			next, err3 := pgpool.Get[int](t.Context(), p, "select nextval('s')::int")
			if errors.Join(err2, err3) != nil || count > 1 || next > 2 {
				t.Errorf("%s %s: ran twice: %d rows, sequence at %d, %v", name, c.sql, count, next, errors.Join(err2, err3))
			}
		}
	}
}

// What did not reach the server is sent again, whatever it is.
func TestUnsentWritesAreRepeated(t *testing.T) {
	t.Parallel()
	p, proxy := proxied(t)
	mustExec(t, p, "create table t (id int)")
	// A first use prepares the statement; the connection is lost then.
	hook, hit := once(func(m *faultproxy.Message) bool {
		return m.Dir == faultproxy.ToServer && m.Type == 'P' && strings.HasPrefix(m.SQL, "insert")
	}, faultproxy.Cut)
	proxy.OnMessage(hook)
	if _, err := p.Exec(t.Context(), "insert into t values ($1)", 1); err != nil {
		t.Errorf("lost while it was prepared: %v", err)
	}
	if !hit.Load() {
		t.Error("nothing was cut")
	}
	// Once it was executed, nobody knows.
	hook, hit = once(func(m *faultproxy.Message) bool { return m.Completes("INSERT 0 1") }, faultproxy.Cut)
	proxy.OnMessage(hook)
	if _, err := p.Exec(t.Context(), "insert into t values ($1)", 2); err == nil || !hit.Load() {
		t.Errorf("lost after it ran: %v, want an error", err)
	}
	proxy.OnMessage(nil)
	if n, err := pgpool.Get[int](t.Context(), p, "select count(*)::int from t"); err != nil || n != 2 {
		t.Errorf("%d rows, %v, want 2", n, err)
	}
}

func TestStalePlans(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 8, MinConns: 8, IdleTimeout: 1 << 40})
	mustExec(t, p, "create table t (id int); insert into t values (1)")
	type row struct{ ID, A, B, C int }
	for i, column := range []string{"a", "b", "c"} {
		// All connections have a plan of the table as it was.
		var conns []pgpool.Querier
		for range 8 {
			conn, err := p.Pgx().Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conn.Release)
			for { // a bare connection fails once after each change
				_, err := pgpool.Get[row](t.Context(), conn, "select * from t where id = $1", 1)
				if err == nil {
					break
				}
				if pgpool.Code(err) != "0A000" {
					t.Fatal(err)
				}
			}
			conns = append(conns, conn)
		}
		for _, c := range conns {
			c.(interface{ Release() }).Release()
		}
		mustExec(t, p, "alter table t add "+column+" int not null default 7")
		for range 10 {
			r, err := pgpool.Get[row](t.Context(), p, "select * from t where id = $1", 1)
			if err != nil || r.A != 7 {
				t.Errorf("change %d: %+v, %v", i, r, err)
			}
			err = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
				_, err := pgpool.Get[row](ctx, tx, "select * from t where id = $1", 1)
				return err
			})
			if err != nil {
				t.Errorf("change %d in a transaction: %v", i, err)
			}
		}
	}
}

// A lost connection before COMMIT runs the transaction again, also if its
// function hides the error.
func TestTransactionSurvivesLostConnections(t *testing.T) {
	t.Parallel()
	p, proxy := proxied(t)
	mustExec(t, p, "create table t (id int)")
	for _, hide := range []bool{false, true} {
		mustExec(t, p, "truncate t")
		hook, hit := once(func(m *faultproxy.Message) bool { return m.Completes("INSERT 0 1") }, faultproxy.Cut)
		proxy.OnMessage(hook)
		attempts := 0
		err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			attempts++
			if _, err := tx.Exec(ctx, "insert into t values (1)"); err != nil && !hide {
				return err
			} else if err != nil {
				return errMine
			}
			return nil
		})
		proxy.OnMessage(nil)
		if err != nil || attempts != 2 || !hit.Load() {
			t.Errorf("hide=%t: %v after %d attempts", hide, err, attempts)
		}
		if n, err := pgpool.Get[int](t.Context(), p, "select count(*)::int from t"); err != nil || n != 1 {
			t.Errorf("hide=%t: %d rows, %v, want 1", hide, n, err)
		}
	}
}

// The session forgets what was prepared on it.
func TestDiscardAll(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 1})
	mustExec(t, p, "create table t (id int primary key, n int default 0)")
	for i := range 3 {
		err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return insert(ctx, tx, i) })
		if err != nil {
			t.Errorf("round %d: %v", i, err)
		}
		mustExec(t, p, "discard all")
	}
}
