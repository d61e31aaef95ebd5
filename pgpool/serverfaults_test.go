package pgpool_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// A transaction whose first statement meets a plan that is out of date is run
// again, also if its function hides that.
func TestTransactionRetriesStalePlan(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 1})
	admin := newPool(t, pgpool.Config{URL: p.Config().URL, MaxConns: 1})
	mustExec(t, admin, "create table t (id int, n int default 0)", "insert into t values (1)")
	for i, hide := range []bool{false, true} {
		read := func(ctx context.Context, q pgpool.Querier) error {
			rows, err := q.Query(ctx, "select * from t where id = $1", 1)
			if err != nil {
				return err
			}
			rows.Close()
			return rows.Err()
		}
		if err := read(t.Context(), p); err != nil { // prepares it on the only connection
			t.Fatal(err)
		}
		mustExec(t, admin, fmt.Sprintf("alter table t add column c%d int", i))
		runs := 0
		err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			runs++
			err := read(ctx, tx)
			if runs == 1 && pgpool.Code(err) != "0A000" {
				t.Errorf("the first run gets %v, want 0A000: the test tests nothing", err)
			}
			if err != nil && hide {
				return errMine
			}
			return err
		})
		if err != nil || runs != 2 {
			t.Errorf("hide=%t: %v after %d runs, want success at the second", hide, err, runs)
		}
	}
}

// A server that has no place for another connection (53300) is asked again,
// until somebody leaves.
func TestServerIsFull(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t, devservices.WithPostgresConfig("max_connections", "5"))
	var conns []*pgx.Conn
	for {
		conn, err := pgx.Connect(t.Context(), server.URL())
		if err != nil {
			if pgpool.Code(err) != "53300" {
				t.Fatal(err)
			}
			break
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		conns = append(conns, conn)
	}
	var log syncBuffer
	impatient, err1 := pgpool.New(pgpool.Config{URL: server.URL(), ConnectTimeout: 200 * time.Millisecond}, pgpool.WithLogger(log.logger()))
	patient, err2 := pgpool.New(pgpool.Config{URL: server.URL(), ConnectTimeout: 20 * time.Second, MinConns: -1, MaxConns: 2})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*pgpool.Pool{impatient, patient} {
		t.Cleanup(func() {
			if err := p.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	var m meter
	_, err := impatient.Exec(t.Context(), "select 1")
	if !errors.Is(err, pgpool.ErrUnavailable) || pgpool.Code(err) != "53300" {
		t.Errorf("got %v, want ErrUnavailable with 53300", err)
	}
	done := make(chan error, 1)
	go func() {
		done <- m.call(func() error { _, err := patient.Exec(t.Context(), "select 1"); return err })
	}()
	eventually(t, "the server has refused the patient one", func() bool { return patient.Stats().Errors.Connection > 1 })
	m.heal()
	for _, conn := range conns {
		_ = conn.Close(t.Context())
	}
	if err := <-done; err != nil {
		t.Errorf("got %v, want it to have waited for a place", err)
	}
	t.Logf("%d connections allowed: %v", len(conns), &m)
}

// A replica ends a query that stands in the way of its replay: the primary
// answers.
func TestRecoveryConflict(t *testing.T) {
	t.Parallel()
	primary := pgpooltest.StartServer(t)
	replica := pgpooltest.StartReplica(t, primary, devservices.WithPostgresConfig("max_standby_streaming_delay", "0"))
	p := newPool(t, pgpool.Config{URL: primary.URL(), ReplicaURLs: []string{replica.URL()}, AppName: "ours"})
	mustExec(t, p, "create table t (id int)", "insert into t values (1)")
	direct := newPool(t, pgpool.Config{URL: replica.URL(), MaxConns: 1})
	eventually(t, "the replica is in use and has the table", func() bool {
		_, err := pgpool.Get[int](t.Context(), direct, "select id from t")
		return err == nil && p.Stats().Replicas[0].Healthy
	})
	// Only on the replica does it take long.
	const sql = "select case when pg_is_in_recovery() then pg_sleep(20)::text else 'primary' end from t"
	var theirs meter
	raw := bare(t, replica.URL()+"&application_name=bare")
	var wg sync.WaitGroup
	wg.Go(func() {
		err := theirs.call(bareExec(t.Context(), raw, sql))
		t.Logf("bare pgxpool of the replica: %v: %v", &theirs, err)
	})
	sleeping := func(who string) func() bool {
		return func() bool {
			n, err := pgpool.Get[int](t.Context(), direct, "select count(*)::int from pg_stat_activity where query = $1 and wait_event = 'PgSleep' and application_name = $2", sql, who)
			return err == nil && n == 1
		}
	}
	eventually(t, "the bare one runs on the replica", sleeping("bare"))
	for name, read := range map[string]func() (string, error){
		"Get":      func() (string, error) { return pgpool.Get[string](t.Context(), p.Replica(), sql) },
		"QueryRow": func() (s string, err error) { err = p.Replica().QueryRow(t.Context(), sql).Scan(&s); return s, err },
		"Exec": func() (string, error) {
			tag, err := p.Replica().Exec(t.Context(), sql)
			return strings.Replace(tag.String(), "SELECT 1", "primary", 1), err
		},
	} {
		before := p.Stats().ReplicaFallbacks
		var ours meter
		wg.Go(func() {
			var got string
			if err := ours.call(func() (err error) { got, err = read(); return err }); err != nil || got != "primary" {
				t.Errorf("%s: %q, %v, want the answer of the primary", name, got, err)
			}
		})
		eventually(t, "it runs on the replica", sleeping("ours"))
		mustExec(t, p, "alter table t add column "+name+" int") // its replay needs the table for itself
		wg.Wait()
		if n := p.Stats().ReplicaFallbacks - before; n == 0 {
			t.Errorf("%s: no fallback was counted", name)
		}
		t.Logf("%s: %v", name, &ours)
	}
}

// The name of the server moves to another address, as a managed service's does
// at a failover: new connections resolve it anew.
func TestNameMoves(t *testing.T) {
	t.Parallel()
	old, next := pgpooltest.StartServer(t), pgpooltest.StartServer(t)
	var addr atomic.Value
	addr.Store(old.Addr())
	u, err := url.Parse(old.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.Host = "db.invalid:5432"
	p := newPool(t, pgpool.Config{URL: u.String(), ConnectTimeout: 20 * time.Second}, pgpool.WithBeforeConnect(func(_ context.Context, cfg *pgx.ConnConfig) error {
		cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{addr.Load().(string)}, nil }
		cfg.Password = map[string]string{old.Addr(): old.Password(), next.Addr(): next.Password()}[addr.Load().(string)]
		return nil
	}))
	port := func() int {
		t.Helper()
		n, err := pgpool.Get[int](t.Context(), p, "select current_setting('port')::int")
		if err != nil {
			t.Error(err)
		}
		return n
	}
	if got := port(); got != old.Port() {
		t.Fatalf("connected to port %d, want %d", got, old.Port())
	}
	addr.Store(next.Addr())
	if err := old.Kill(); err != nil {
		t.Fatal(err)
	}
	var m meter
	_ = m.call(func() error {
		if got := port(); got != next.Port() {
			t.Errorf("connected to port %d, want %d", got, next.Port())
		}
		return nil
	})
	t.Logf("%v", &m)
}
