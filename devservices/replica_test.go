package devservices_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pedro-go/pedro/devservices"
)

func startReplica(t *testing.T, p *devservices.Postgres, opts ...devservices.PostgresOption) *devservices.Postgres {
	t.Helper()
	r, err := p.StartReplica(t.Context(), opts...)
	if err != nil {
		t.Fatalf("StartReplica: got error %v, want none", err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: got error %v, want none", err)
		}
	})
	return r
}

// code is the SQLSTATE of an error, empty if it is none of the server's.
func code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

func TestReplicaFollowsAndIsPromoted(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	exec1(t, connect(t, p.URL()), "CREATE TABLE t AS SELECT 1 AS n")
	r := startReplica(t, p)
	if !r.InRecovery() || p.InRecovery() {
		t.Errorf("InRecovery: got %t for the replica and %t for the primary, want true and false", r.InRecovery(), p.InRecovery())
	}
	exec1(t, connect(t, p.URL()), "INSERT INTO t VALUES (2)")
	conn := connect(t, r.URL())
	eventually(t, "the row reaches the replica", func() bool { return query1[int](t, conn, "SELECT count(*) FROM t") == 2 })
	if _, err := conn.Exec(t.Context(), "INSERT INTO t VALUES (3)"); code(err) != "25006" {
		t.Errorf("write to a replica: got error %v, want 25006", err)
	}
	if err := p.Kill(); err != nil {
		t.Fatalf("Kill: got error %v, want none", err)
	}
	if err := r.Promote(t.Context()); err != nil {
		t.Fatalf("Promote: got error %v, want none", err)
	}
	exec1(t, connect(t, r.URL()), "INSERT INTO t VALUES (3)")
	if r.InRecovery() {
		t.Error("InRecovery after Promote: got true, want false")
	}
	if err := r.Restart(t.Context()); err != nil {
		t.Fatalf("Restart of the promoted replica: got error %v, want none", err)
	}
	if got, want := query1[int](t, connect(t, r.URL()), "SELECT count(*) FROM t"), 3; got != want {
		t.Errorf("rows on the promoted replica: got %d, want %d", got, want)
	}
}

func TestTwoReplicasStartAtOnceAndSurviveTheirPrimarysRestart(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	replicas := make([]*devservices.Postgres, 2)
	var wg sync.WaitGroup
	for i := range replicas {
		wg.Go(func() { replicas[i] = startReplica(t, p) })
	}
	wg.Wait()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec1(t, connect(t, p.URL()), "CREATE TABLE t AS SELECT 1 AS n")
	for i, r := range replicas {
		conn := connect(t, r.URL())
		eventually(t, "the table reaches the replica", func() bool {
			var n int
			return conn.QueryRow(t.Context(), "SELECT n FROM t").Scan(&n) == nil && n == 1
		})
		if got := query1[bool](t, conn, "SELECT pg_is_in_recovery()"); !got {
			t.Errorf("replica %d: got a primary, want a replica", i)
		}
	}
}

func startPgBouncer(t *testing.T, p *devservices.Postgres, opts ...devservices.PgBouncerOption) *devservices.PgBouncer {
	t.Helper()
	b, err := devservices.StartPgBouncer(t.Context(), p, opts...)
	if err != nil {
		t.Fatalf("StartPgBouncer: got error %v, want none", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: got error %v, want none", err)
		}
	})
	return b
}

// backends counts the server processes that n transactions of one client meet while another client takes turns with it.
func backends(t *testing.T, url string) int {
	t.Helper()
	seen := map[int]bool{}
	a, b := connectSimple(t, url), connectSimple(t, url)
	for range 5 {
		// b holds the connection that a had, so a has to get another one.
		tx, err := b.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		seen[query1[int](t, a, "SELECT pg_backend_pid()")] = true
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen[query1[int](t, a, "SELECT pg_backend_pid()")] = true
	}
	return len(seen)
}

// connectSimple avoids prepared statements, which the pooler of this age does not keep apart.
func connectSimple(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	return connect(t, url+"&default_query_exec_mode=simple_protocol")
}

func TestPgBouncerModes(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	session := startPgBouncer(t, p, devservices.WithPoolMode(devservices.SessionMode))
	if got, want := backends(t, session.URL()), 1; got != want {
		t.Errorf("session mode: got %d backends for one client, want %d", got, want)
	}
	transaction := startPgBouncer(t, p)
	if got := backends(t, transaction.URL()); got < 2 {
		t.Errorf("transaction mode: got %d backends for one client, want 2 or more", got)
	}
}

func TestPgBouncerRefusesStartupParametersUnlessTold(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	b := startPgBouncer(t, p)
	conn, err := pgx.Connect(t.Context(), b.URL()+"&statement_timeout=1000")
	if err == nil {
		_ = conn.Close(t.Context())
	}
	if code(err) != "08P01" {
		t.Errorf("connect with statement_timeout: got error %v, want 08P01", err)
	}
	told := startPgBouncer(t, p, devservices.WithPgBouncerConfig("ignore_startup_parameters = statement_timeout"))
	connect(t, told.URL()+"&statement_timeout=1000")
}

func TestPgBouncerKilledAndBack(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	b := startPgBouncer(t, p, devservices.WithServerConns(2))
	connectSimple(t, b.URL())
	if err := b.Kill(); err != nil {
		t.Fatalf("Kill: got error %v, want none", err)
	}
	if err := b.Restart(t.Context()); err != nil {
		t.Fatalf("Restart: got error %v, want none", err)
	}
	exec1(t, connectSimple(t, b.DatabaseURL("template1")), "SELECT 1")
	exec1(t, connectSimple(t, b.DatabaseURL("pgbouncer")), "SHOW POOLS")
	if err := b.Stop(t.Context()); err != nil {
		t.Fatalf("Stop: got error %v, want none", err)
	}
}
