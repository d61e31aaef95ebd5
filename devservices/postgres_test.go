package devservices_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pedro-go/pedro/devservices"
)

func testContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Minute)
}

func startPostgres(t *testing.T, opts ...devservices.PostgresOption) *devservices.Postgres {
	t.Helper()
	p, err := devservices.StartPostgres(t.Context(), opts...)
	if err != nil {
		t.Fatalf("StartPostgres: got error %v, want none", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: got error %v, want none", err)
		}
	})
	return p
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect: got error %v, want none", err)
	}
	t.Cleanup(func() {
		ctx, cancel := testContext()
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

func exec1(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: got error %v, want none", sql, err)
	}
}

func query1[T any](t *testing.T, conn *pgx.Conn, sql string) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: got error %v, want none", sql, err)
	}
	return v
}

func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, devservices.WithPostgresConfig("application_name", "it's"))
	conn := connect(t, p.URL())
	for name, want := range map[string]string{
		"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "dynamic_shared_memory_type": "mmap",
		"server_encoding": "UTF8", "lc_collate": "C", "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
		"application_name": "it's",
	} {
		if got := query1[string](t, conn, "SHOW "+name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestPostgresDemandsItsPassword(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	cfg, err := pgx.ParseConfig(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Password = "wrong"
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err == nil {
		_ = conn.Close(t.Context())
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "28P01" {
		t.Errorf("connect with a wrong password: got error %v, want 28P01", err)
	}
}

func TestPostgresKilledLosesNoCommitAndComesBackOnItsPort(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	conn := connect(t, p.URL())
	exec1(t, conn, "CREATE TABLE t (n int)")
	tree := p.Tree()
	acknowledged := make(chan int)
	go func() {
		n := 0
		for {
			if _, err := conn.Exec(context.Background(), "INSERT INTO t VALUES (1)"); err != nil {
				acknowledged <- n
				return
			}
			n++
			if n == 100 {
				go func() { _ = p.Kill() }()
			}
		}
	}()
	got := <-acknowledged
	eventually(t, "the server is killed", func() bool { return p.PID() == 0 })
	if err := p.Restart(t.Context()); err != nil {
		t.Fatalf("Restart after Kill: got error %v, want none", err)
	}
	if len(tree) < 5 || !devservices.Gone(tree) {
		t.Errorf("processes of the killed server, %v: some are left, want none", tree)
	}
	rows := query1[int](t, connect(t, p.URL()), "SELECT count(*) FROM t")
	// The one insert that was under way may or may not have made it.
	if got < 100 || rows < got || rows > got+1 {
		t.Errorf("rows after the kill: got %d, want the %d acknowledged or one more", rows, got)
	}
}

func TestPostgresPausedAnswersNobodyOnOpenConnections(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	conn := connect(t, p.URL())
	pid := query1[int](t, conn, "SELECT pg_backend_pid()")
	if err := p.Pause(); err != nil {
		t.Fatalf("Pause: got error %v, want none", err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT 1")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("backend %d of a paused server answered: %v", pid, err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := p.Resume(); err != nil {
		t.Fatalf("Resume: got error %v, want none", err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the answer after Resume: got error %v, want none", err)
	}
}

func TestPostgresStoppedKeepsItsData(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	exec1(t, connect(t, p.URL()), "CREATE TABLE t AS SELECT 42 AS n")
	if err := p.Stop(t.Context()); err != nil {
		t.Fatalf("Stop: got error %v, want none", err)
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatalf("Restart: got error %v, want none", err)
	}
	if got, want := query1[int](t, connect(t, p.URL()), "SELECT n FROM t"), 42; got != want {
		t.Errorf("the row after Stop and Restart: got %d, want %d", got, want)
	}
}

func TestManyServersStartAtOnce(t *testing.T) {
	t.Parallel()
	const each = 6
	begin := time.Now()
	for range each {
		t.Run("redis", func(t *testing.T) {
			t.Parallel()
			do(t, startRedis(t), "PING")
		})
		t.Run("postgres", func(t *testing.T) {
			t.Parallel()
			exec1(t, connect(t, startPostgres(t).URL()), "SELECT 1")
		})
	}
	t.Cleanup(func() { t.Logf("%d Redis and %d PostgreSQL in %v", each, each, time.Since(begin)) })
}
