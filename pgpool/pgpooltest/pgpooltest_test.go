package pgpooltest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/internal/leakcheck"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

func TestMain(m *testing.M) {
	leakcheck.Main(m, func() {
		if err := pgpooltest.Close(); err != nil {
			panic(err)
		}
	})
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect: got error %v, want none", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestDatabasesAreIndependentAndOnOneServer(t *testing.T) {
	t.Parallel()
	a, b := connect(t, pgpooltest.Start(t)), connect(t, pgpooltest.Start(t))
	var servers [2]int64
	for i, conn := range []*pgx.Conn{a, b} {
		if _, err := conn.Exec(t.Context(), "CREATE TABLE t (n int)"); err != nil {
			t.Fatalf("CREATE TABLE in database %d: got error %v, want none", i, err)
		}
		if err := conn.QueryRow(t.Context(), "SELECT system_identifier FROM pg_control_system()").Scan(&servers[i]); err != nil {
			t.Fatal(err)
		}
	}
	if servers[0] != servers[1] {
		t.Errorf("servers: got %v, want one", servers)
	}
}

func TestDatabaseIsDroppedWithItsTestEvenWhenInUse(t *testing.T) { //nolint:tparallel // the end of the inner one is waited for
	t.Parallel()
	watcher := connect(t, pgpooltest.Start(t))
	var name string
	t.Run("inner", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), pgpooltest.Start(t))
		if err != nil {
			t.Fatal(err)
		}
		name = conn.Config().Database // left open: a leaking test must not keep the server busy
	})
	var n int
	if err := watcher.QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname = $1", name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != 0 {
		t.Errorf("database %s: got it after its test, want it dropped", name)
	}
}

func TestSchemaIsMadeOnceAndCopied(t *testing.T) { //nolint:tparallel // the end of the inner ones is waited for
	t.Parallel()
	var made atomic.Int32
	schema := pgpooltest.WithSchema("clinic", func(ctx context.Context, conn *pgx.Conn) error {
		made.Add(1)
		_, err := conn.Exec(ctx, "CREATE TABLE patients (name text); INSERT INTO patients VALUES ('Ada')")
		return err
	})
	t.Run("group", func(t *testing.T) {
		for i := range 6 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				conn := connect(t, pgpooltest.Start(t, schema))
				if _, err := conn.Exec(t.Context(), "INSERT INTO patients VALUES ('Bob')"); err != nil {
					t.Fatal(err)
				}
				var n int
				if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM patients").Scan(&n); err != nil || n != 2 {
					t.Errorf("patients in a copy: got %d, %v, want 2", n, err)
				}
			})
		}
	})
	if got := made.Load(); got != 1 {
		t.Errorf("runs of the schema's function: got %d, want 1", got)
	}
}

func TestServerOfYourOwn(t *testing.T) {
	t.Parallel()
	s := pgpooltest.StartServer(t)
	if err := s.Kill(); err != nil {
		t.Fatalf("Kill: got error %v, want none", err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatalf("Restart: got error %v, want none", err)
	}
	connect(t, s.URL())
	connect(t, pgpooltest.StartReplica(t, s).URL())
	connect(t, pgpooltest.StartPgBouncer(t, s).URL())
}

// TestAddressFromTheEnvironmentWins runs this binary again against a server that stands for one of the user's.
func TestAddressFromTheEnvironmentWins(t *testing.T) {
	t.Parallel()
	if os.Getenv("PGPOOLTEST_INNER") != "" {
		url := pgpooltest.Start(t, pgpooltest.WithSchema("s", func(context.Context, *pgx.Conn) error { return nil }))
		given, err := pgx.ParseConfig(os.Getenv("TEST_DATABASE_URL"))
		if err != nil {
			t.Fatal(err)
		}
		conn := connect(t, url)
		if got, want := conn.Config().Port, given.Port; got != want {
			t.Errorf("port: got %d, want the given server's %d", got, want)
		}
		return
	}
	server := pgpooltest.StartServer(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestAddressFromTheEnvironmentWins$", "-test.v")
	cmd.Env = append(os.Environ(), "PGPOOLTEST_INNER=1", "TEST_DATABASE_URL="+server.URL(), "PGSERVICE=none", "PGSSLMODE=verify-full")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestAddressFromTheEnvironmentWins") {
		t.Fatalf("run with TEST_DATABASE_URL: got %v\n%s", err, out)
	}
	var left int
	if err := connect(t, server.URL()).QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname LIKE 'test%'").Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left != 0 {
		t.Errorf("databases left on the user's server: got %d, want 0", left)
	}
}

// TestWithoutAServer runs this binary again as on a machine that has none.
func TestWithoutAServer(t *testing.T) {
	t.Parallel()
	if os.Getenv("PGPOOLTEST_NONE") != "" {
		pgpooltest.Start(t)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for ci, want := range map[string]string{"": "--- SKIP: TestWithoutAServer", "true": "--- FAIL: TestWithoutAServer"} {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestWithoutAServer$", "-test.v")
		cmd.Env = append(os.Environ(), "PGPOOLTEST_NONE=1", "DEVSERVICES=off", "CI="+ci, "TEST_DATABASE_URL=", "TEST_REDIS_URL=")
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), want) || !strings.Contains(string(out), "PostgreSQL is treated as not installed") {
			t.Errorf("run with CI=%q: got\n%s\nwant %s and the reason", ci, out, want)
		}
	}
}
