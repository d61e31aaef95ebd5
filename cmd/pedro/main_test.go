package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// exe is the command, built once.
var exe string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "pedro")
	if err != nil {
		panic(err)
	}
	exe = filepath.Join(dir, "pedro")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build: %v\n%s", err, out))
	}
	status := m.Run()
	_ = pgpooltest.Close()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

const strong = "SESSION_SECRET=canary-4f1c9a7be2d80356aa91c7e4d2b8f063"

// result is what one run of the command did.
type result struct {
	status         int
	stdout, stderr string
}

// doctor runs the command in an environment of its own.
func doctor(t *testing.T, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, append([]string{"doctor"}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if _, isExit := errors.AsType[*exec.ExitError](err); !isExit {
			t.Fatal(err)
		}
	}
	r := result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	if strings.Contains(r.stdout+r.stderr, "canary") {
		t.Errorf("a secret is shown:\n%s%s", r.stdout, r.stderr)
	}
	return r
}

// report is the form of -json that others rely on.
type report struct {
	Healthy  bool
	Settings []struct{ Name, Value string }
	Findings []struct {
		Area, Check, Status, Found, Change string
		Variables                          []string
	}
}

// examined runs the command with -json and decodes the report.
func examined(t *testing.T, env []string, args ...string) (report, int) {
	t.Helper()
	res := doctor(t, env, append(args, "-json")...)
	var r report
	d := json.NewDecoder(strings.NewReader(res.stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("the report: %v\n%s%s", err, res.stdout, res.stderr)
	}
	if want := map[bool]int{true: 0, false: 1}[r.Healthy]; res.status != want {
		t.Errorf("exit status: got %d with healthy %v, want %d", res.status, r.Healthy, want)
	}
	return r, res.status
}

// expect looks for a finding by area, check, status and a part of its texts, and
// the variables that it names.
func (r report) expect(t *testing.T, area, check, status, part string, variables ...string) {
	t.Helper()
	for _, f := range r.Findings {
		missing := slices.ContainsFunc(variables, func(v string) bool { return !slices.Contains(f.Variables, v) })
		if f.Area == area && f.Check == check && f.Status == status && strings.Contains(f.Found+" → "+f.Change, part) && !missing {
			return
		}
	}
	t.Errorf("got no %s of %s, %s with %q and %q, want one in %+v", status, area, check, part, variables, r.Findings)
}

var changing = regexp.MustCompile(`\d+([.,]\d+)*(µs|ms|s|M|K)?( \(Debian [^)]*\))?`)

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	pg := pgpooltest.StartServer(t)
	rd := rediscachetest.StartServer(t, devservices.WithAppendOnly(), devservices.WithPassword("canary2"), devservices.WithRedisConfig("maxmemory 100mb"))
	url := plainUser(t, pg)
	res := doctor(t, []string{"DATABASE_URL=" + url, "REDIS_URL=" + rd.URL(), strong, "APP_ENV=production", "DB_POOL_MAX=10"}, "--instances", "3")
	if res.status != 0 {
		t.Errorf("exit status: got %d, want 0", res.status)
	}
	if res.stderr != "" {
		t.Errorf("stderr, which is no terminal: got %q, want nothing", res.stderr)
	}
	want := `Settings
  APP_ENV                  production
  DATABASE_URL             postgres://#:#/postgres
  DB_POOL_MAX              #
  REDIS_URL                redis://#:#/#
  SESSION_SECRET           [hidden]

PostgreSQL
  ok       connection         PostgreSQL # answers in #
  ok       encryption         none, and none is needed: the server is on this machine
  ok       pooler             none in between (direct mode)
  ok       connections        DB_POOL_MAX # × # instances = #, # % of the # usable of the server's max_connections; others hold # now
  ok       statement timeout  #, honoured: a limit of # ended a statement after #
  ok       clock              # from ours, ± #
  ok       rights             the user is no superuser

Redis
  ok       connection         Redis # answers in #
  ok       encryption         none; the server is on this machine or on a private network
  ok       password           set
  ok       eviction           noeviction
  ok       memory             # of # used: # %
  ok       persistence        every write is logged (appendonly yes)
  ok       role               master with no replicas
  ok       connections        up to # × # instances = #, # % of maxclients #
  ok       clock              # from ours, ± #

Sessions
  ok       secret             strong: # secret
  ok       cookie             for HTTPS only (APP_ENV=production)

All is well.
`
	if got := strings.ReplaceAll(changing.ReplaceAllString(res.stdout, "#"), "-#", "#"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// plainUser is the server's URL for a user without special rights.
func plainUser(t *testing.T, pg *devservices.Postgres) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pg.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "create role app login password 'canary1'"); err != nil {
		t.Fatal(err)
	}
	return "postgres://app:canary1@" + pg.Addr() + "/postgres"
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	pg := pgpooltest.StartServer(t, devservices.WithPostgresConfig("max_connections", "30"))
	rd := rediscachetest.StartServer(t, devservices.WithRedisConfig("maxmemory 1150kb"), devservices.WithRedisConfig("maxmemory-policy allkeys-lru"))
	r, _ := examined(t, []string{
		"DATABASE_URL=" + pg.URL(), "REDIS_URL=" + rd.URL(), "SESSION_SECRET=canary-short", "DB_POLL_MAX=7", "REDIS_POOL_SIZE=5000",
		"DB_REPLICA_URLS=postgres://u:canary3@127.0.0.1:1/x",
	}, "-instances=4")
	r.expect(t, "environment", "spelling", "problem", "DB_POLL_MAX", "DB_POOL_MAX")
	r.expect(t, "postgres", "connections", "problem", "DB_POOL_MAX 20 × 4 instances = 80", "DB_POOL_MAX")
	r.expect(t, "postgres", "connections", "problem", "lower DB_POOL_MAX to 5", "DB_POOL_MAX")
	r.expect(t, "postgres", "rights", "note", "superuser")
	r.expect(t, "postgres", "replica 1", "problem", "not used", "DB_REPLICA_URLS")
	r.expect(t, "redis", "eviction", "problem", "allkeys-lru")
	r.expect(t, "redis", "memory", "problem", "used")
	r.expect(t, "redis", "connections", "problem", "REDIS_POOL_SIZE", "REDIS_POOL_SIZE")
	r.expect(t, "redis", "password", "note", "none")
	r.expect(t, "redis", "persistence", "note", "appendonly")
	r.expect(t, "session", "secret", "problem", "32 characters", "SESSION_SECRET")
	r.expect(t, "session", "cookie", "note", "APP_ENV", "APP_ENV")
}

func TestReplicasAndPooler(t *testing.T) {
	t.Parallel()
	pg := pgpooltest.StartServer(t)
	replica := pgpooltest.StartReplica(t, pg)
	bouncer := pgpooltest.StartPgBouncer(t, pg)
	r, _ := examined(t, []string{"DATABASE_URL=" + bouncer.URL(), "DB_REPLICA_URLS=" + replica.URL(), strong})
	r.expect(t, "postgres", "pooler", "ok", "used in transaction mode")
	r.expect(t, "postgres", "statement timeout", "ok", "honoured")
	r.expect(t, "postgres", "connections", "ok", "to the pooler")
	r.expect(t, "postgres", "replica 1", "ok", replica.Addr())

	// A pooler that does not refuse settings, and a mode that denies it.
	lenient := pgpooltest.StartPgBouncer(t, pg, devservices.WithPgBouncerConfig("ignore_startup_parameters = statement_timeout,idle_in_transaction_session_timeout,extra_float_digits"))
	r, _ = examined(t, []string{"DATABASE_URL=" + lenient.URL(), "DB_POOL_MODE=direct", strong})
	r.expect(t, "postgres", "pooler", "problem", "says that there is none", "DB_POOL_MODE")
	r.expect(t, "postgres", "statement timeout", "problem", "not honoured", "DB_STATEMENT_TIMEOUT")
}

func TestEncryption(t *testing.T) {
	t.Parallel()
	ca, err := devservices.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Server()
	if err != nil {
		t.Fatal(err)
	}
	pg := pgpooltest.StartServer(t, devservices.WithPostgresTLS(cert))
	rd := rediscachetest.StartServer(t, devservices.WithRedisTLS(cert))
	base, _, _ := strings.Cut(pg.URL(), "?")
	r, _ := examined(t, []string{"DATABASE_URL=" + base + "?sslmode=verify-full&sslrootcert=" + ca.File(), "REDIS_URL=" + rd.URL(), "REDIS_TLS_CA=" + ca.File(), strong})
	r.expect(t, "postgres", "encryption", "ok", "TLS")
	r.expect(t, "redis", "encryption", "ok", "TLS")

	r, _ = examined(t, []string{"DATABASE_URL=" + base + "?sslmode=require", "REDIS_URL=" + rd.URL(), strong, "REDIS_TLS_SKIP_VERIFY=true"})
	r.expect(t, "postgres", "encryption", "note", "not verified", "DATABASE_URL")
	r.expect(t, "redis", "advice", "problem", "certificate", "REDIS_TLS_SKIP_VERIFY")

	r, _ = examined(t, []string{"REDIS_URL=" + rd.URL(), strong}, "-timeout=9s")
	r.expect(t, "redis", "connection", "problem", "certificate is not accepted", "REDIS_URL")
}

func TestClusterAndSentinel(t *testing.T) {
	t.Parallel()
	cluster := rediscachetest.StartCluster(t)
	r, _ := examined(t, []string{"REDIS_ADDRS=" + strings.Join(cluster.Addrs(), ","), strong})
	r.expect(t, "redis", "connection", "ok", "a Cluster")
	r.expect(t, "redis", "password", "note", "none", "REDIS_PASSWORD")

	sentinel := rediscachetest.StartSentinel(t)
	env := []string{"REDIS_ADDRS=" + strings.Join(sentinel.Addrs(), ","), "REDIS_MASTER_NAME=" + sentinel.MasterName(), strong}
	r, _ = examined(t, env)
	r.expect(t, "redis", "role", "ok", "master with 2 replicas")
	if res := doctor(t, env); res.stderr != "" {
		t.Errorf("stderr: got %q, want nothing beside the report", res.stderr)
	}

	replica := ""
	for _, node := range sentinel.Nodes()[1:] {
		replica = node.URL()
	}
	r, _ = examined(t, []string{"REDIS_URL=" + replica, strong})
	r.expect(t, "redis", "role", "problem", "this is a replica", "REDIS_URL")
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	pg := pgpooltest.StartServer(t)
	rd := rediscachetest.StartServer(t, devservices.WithPassword("right"))
	frozen := rediscachetest.StartServer(t)
	if err := frozen.Pause(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env        []string
		area, part string
	}{
		"nobody listens":          {[]string{"DATABASE_URL=postgres://u:canary@127.0.0.1:1/x"}, "postgres", "connection refused"},
		"wrong password":          {[]string{"DATABASE_URL=postgres://postgres:canary@" + pg.Addr() + "/postgres"}, "postgres", "refuses user or password"},
		"no such database":        {[]string{"DATABASE_URL=" + pg.DatabaseURL("nowhere")}, "postgres", "no such database"},
		"redis: nobody listens":   {[]string{"REDIS_URL=redis://:canary@127.0.0.1:1"}, "redis", "connection refused"},
		"redis: wrong password":   {[]string{"REDIS_URL=redis://:canary@" + rd.Addr()}, "redis", "refuses user or password"},
		"redis: no password":      {[]string{"REDIS_URL=redis://" + rd.Addr()}, "redis", "refuses user or password"},
		"redis: does not answer":  {[]string{"REDIS_URL=" + frozen.URL()}, "redis", "no answer in time"},
		"redis: speaks no TLS":    {[]string{"REDIS_URL=rediss://:canary@" + rd.Addr()}, "redis", "agree on TLS"},
		"postgres: speaks no TLS": {[]string{"DATABASE_URL=postgres://postgres:canary@" + pg.Addr() + "/postgres?sslmode=require"}, "postgres", "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			r, status := examined(t, append(c.env, strong), "-timeout", "6s")
			r.expect(t, c.area, "connection", "problem", c.part)
			if status != 1 {
				t.Errorf("exit status: got %d, want 1", status)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v with a limit of 6s", took)
			}
		})
	}
}

// TestMalformed has a canary in every variable that there is: none is shown,
// wherever it stands.
func TestMalformed(t *testing.T) {
	t.Parallel()
	r, _ := examined(t, nil)
	r.expect(t, "postgres", "settings", "note", "no database is configured", "DATABASE_URL")
	r.expect(t, "session", "secret", "note", "none")

	out, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	names := regexp.MustCompile("(?m)^\\| `([A-Z_]+)`").FindAllStringSubmatch(string(out), -1)
	for _, name := range names {
		env = append(env, name[1]+"=x://u:canary@h/?p=canary")
	}
	if len(env) < 50 {
		t.Fatalf("got %d variables from README.md, want them all", len(env))
	}
	r, _ = examined(t, env, "-timeout=3s")
	r.expect(t, "postgres", "settings", "problem", "whole number", "DB_POOL_MAX")
	r.expect(t, "redis", "settings", "problem", "", "REDIS_PORT")
	r.expect(t, "session", "settings", "problem", "", "SESSION_LIFETIME")
	if len(r.Settings) != len(env) {
		t.Errorf("got %d settings, want all %d", len(r.Settings), len(env))
	}
	r, _ = examined(t, []string{"DB_POOL_MAX=canary", "REDIS_TLS=canary", "SESSION_LIFETIME=canary"}, "-timeout=3s")
	r.expect(t, "postgres", "settings", "problem", "whole number", "DB_POOL_MAX")
}

func TestBadUse(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-instances=0"}, {"-timeout=-1s"}, {"-what"}, {"nothing"}, {"-instances=many"}} {
		if res := doctor(t, nil, args...); res.status != 2 || !strings.Contains(res.stderr, "usage: pedro doctor") || res.stdout != "" {
			t.Errorf("%q: got status %d and %q, want 2 and the usage", args, res.status, res.stderr)
		}
	}
	for _, c := range []struct {
		args   []string
		status int
	}{{nil, 2}, {[]string{"nurse"}, 2}, {[]string{"help"}, 0}, {[]string{"doctor", "-h"}, 0}} {
		cmd := exec.CommandContext(t.Context(), exe, c.args...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != c.status || !strings.Contains(string(out), "usage: pedro doctor") {
			t.Errorf("pedro %q: got status %d and %q, want %d and the usage", c.args, got, out, c.status)
		}
	}
}
