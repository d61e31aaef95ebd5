package migration_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/examples/migration/node"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// TestNode: the Node service and its successor run side by side, from the same
// variables, on one PostgreSQL and one Redis. A user who goes back and forth
// between them notices nothing, and each sees what the other wrote and cached.
func TestNode(t *testing.T) { // not parallel: it sets the environment
	database := pgpooltest.Start(t, pgpooltest.WithSchema("node", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `
			create table patients (id bigint primary key, name text not null, visits int not null default 0);
			create table visits (id bigint generated always as identity primary key, patient bigint not null references patients (id), reason text not null);
			insert into patients (id, name) values (1, 'Anna')`)
		return err
	}))
	for name, value := range map[string]string{
		"DATABASE_URL": database, "REDIS_URL": rediscachetest.Start(t), "SESSION_SECRET": secret,
		"DB_POOL_MAX": "5", "DB_IDLE_TIMEOUT": "30000", "DB_CONNECTION_TIMEOUT": "10000", "DB_STATEMENT_TIMEOUT": "30000", // ms, as in Node
	} {
		t.Setenv(name, value)
	}
	express := startNode(t)
	here := startGo(t)

	b := newBrowser(t, express)
	on := func(base string) *browser { b.base = base; return b }
	on(express).want("GET", "/me", 401, "")
	on(here).want("GET", "/me", 401, "")
	visits := 0
	for _, sides := range [][2]string{{express, here}, {here, express}} {
		from, to := sides[0], sides[1]
		on(from).want("POST", "/login?user=u42", 204, "")
		on(to).want("GET", "/me", 200, `{"user":"u42","role":"nurse"}`)
		on(from).want("GET", "/patients/1", 200, fmt.Sprintf(`{"name":"Anna","visits":%d}`, visits)) // cached here …
		on(to).want("POST", "/patients/1/visits?reason=flu", 200, "")
		visits++
		on(from).want("GET", "/patients/1", 200, fmt.Sprintf(`{"name":"Anna","visits":%d}`, visits)) // … and dropped there
		on(to).want("POST", "/logout", 204, "")
		on(from).want("GET", "/me", 401, "")
	}
	on(here).want("GET", "/api/health/ready", 200, "")
	on(express).want("GET", "/api/health/ready", 200, "")
}

func startGo(t *testing.T) string {
	t.Helper()
	pool, cache, sessions, err := node.Connect()
	if err != nil {
		t.Fatal(err)
	}
	if got := pool.Config(); got.MaxConns != 5 || got.IdleTimeout != 30*time.Second {
		t.Errorf("the pool has %d connections and %v, want what the variables say", got.MaxConns, got.IdleTimeout)
	}
	checks, err := node.Checks(pool, cache)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, c := range []interface {
		Start(ctx context.Context) error
		Stop(ctx context.Context) error
	}{pool, cache, sessions, checks} {
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Stop(ctx) })
	}
	return serve(t, node.Handler(pool, cache, sessions, checks))
}

// startNode installs what before.js needs, once for each lock file, into the
// user's cache, and runs it. Where that cannot be had it skips the test, and
// fails it where CI is set.
func startNode(t *testing.T) string {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") != "" {
		missing = t.Fatalf
	}
	if _, err := exec.LookPath("npm"); err != nil {
		missing("npm is not installed (Debian: apt-get install npm): %v", err)
	}
	sum := sha256.New()
	files := map[string][]byte{}
	for _, name := range []string{"before.js", "package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join("node", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
		sum.Write(data)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "pedro", "migration-"+hex.EncodeToString(sum.Sum(nil))[:12])
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "pg")); err != nil {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		fresh, err := os.MkdirTemp(filepath.Dir(dir), "new-") //nolint:usetesting // beside dir, so that it can be renamed
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(fresh)
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(fresh, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		install := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
		install.Dir = fresh
		if out, err := install.CombinedOutput(); err != nil {
			missing("npm ci: %v: %s", err, out)
		}
		if err := os.Rename(fresh, dir); err != nil {
			if _, err := os.Stat(dir); err != nil { // another process was faster
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command("node", "before.js")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), "PORT=0", "NODE_ENV=test")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the Node service said nothing: %v", err)
	}
	return strings.TrimSpace(line)
}

// TestNodeNamespace: what replaces the cache helpers after the move.
func TestNodeNamespace(t *testing.T) {
	database := pgpooltest.Start(t)
	t.Setenv("DATABASE_URL", database)
	t.Setenv("REDIS_URL", rediscachetest.Start(t))
	t.Setenv("SESSION_SECRET", secret)
	pool, cache, sessions, err := node.Connect()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []interface {
		Stop(ctx context.Context) error
	}{pool, cache, sessions} {
		t.Cleanup(func() { _ = c.Stop(context.Background()) })
	}
	if _, err := pool.Exec(t.Context(), "create table patients (id bigint primary key, name text not null, visits int not null default 0)"); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "insert into patients (id, name) values (1, 'Anna')"); err != nil {
		t.Fatal(err)
	}
	patient := node.New(pool, cache).Namespace()
	for range 3 {
		if p, err := patient(t.Context(), "1"); err != nil || p.Name != "Anna" {
			t.Errorf("got %+v, %v, want Anna", p, err)
		}
	}
	if got := cache.Stats(); got.Loads != 1 {
		t.Errorf("%d loads, want 1", got.Loads)
	}
}
