package devservices_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
)

// again runs one test of this binary again with a changed environment, and returns its output.
func again(t *testing.T, cmd *exec.Cmd, test string, env ...string) string {
	t.Helper()
	cmd.Args = append(cmd.Args, "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), "DEVSERVICES_AGAIN=1")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+test) {
		t.Errorf("run again: got %v, want it to pass\n%s", err, out)
	}
	return string(out)
}

func isAgain() bool { return os.Getenv("DEVSERVICES_AGAIN") != "" }

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func TestNothingInstalled(t *testing.T) {
	t.Parallel()
	if !isAgain() {
		again(t, exec.CommandContext(t.Context(), self(t)), "TestNothingInstalled", "DEVSERVICES=off")
		return
	}
	ctx := t.Context()
	for name, start := range map[string]func() error{
		"Redis":          func() error { _, err := devservices.StartRedis(ctx); return err },
		"Redis Sentinel": func() error { _, err := devservices.StartRedisSentinel(ctx); return err },
		"PostgreSQL":     func() error { _, err := devservices.StartPostgres(ctx); return err },
		"PgBouncer":      func() error { _, err := devservices.StartPgBouncer(ctx, nil); return err },
	} {
		err := start()
		if !errors.Is(err, devservices.ErrNotInstalled) || !strings.Contains(err.Error(), "devservices: "+name+" is") {
			t.Errorf("%s: got error %v, want ErrNotInstalled with its name", name, err)
		}
	}
	if dir := devservices.RunDir(); dir != "" {
		t.Errorf("a failed start left %s", dir)
	}
}

// TestInstallLine shows the line for each system by programs that stand for its installer.
func TestInstallLine(t *testing.T) {
	t.Parallel()
	for installer, want := range map[string]string{
		"apt-get": "sudo apt-get install --no-install-recommends pgbouncer",
		"dnf":     "sudo dnf install pgbouncer",
		"apk":     "sudo apk add pgbouncer",
		"brew":    "brew install pgbouncer",
		"none":    "install PgBouncer with your system's package manager",
	} {
		t.Run(installer, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, installer), []byte("#!/bin/sh\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			if got := devservices.InstallLine(dir); got != want {
				t.Errorf("install line: got %q, want %q", got, want)
			}
		})
	}
}

func TestDirectoryNamedByTheUserWins(t *testing.T) {
	t.Parallel()
	if isAgain() {
		r := startRedis(t)
		if got, want := filepath.Dir(r.Exe()), os.Getenv("DEVSERVICES_PATH"); got != want {
			t.Errorf("directory of redis-server: got %s, want %s", got, want)
		}
		if got, want := devservices.RunDir(), os.Getenv("DEVSERVICES_TMP"); !strings.HasPrefix(got, want) {
			t.Errorf("directory of the run: got %s, want one below %s", got, want)
		}
		return
	}
	installed, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("no redis-server in PATH to link to")
	}
	dir, err := os.MkdirTemp("/tmp", "devservices-test-") //nolint:usetesting // other accounts have to pass through
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), os.Symlink(installed, filepath.Join(dir, "redis-server"))); err != nil {
		t.Fatal(err)
	}
	again(t, exec.CommandContext(t.Context(), self(t)), "TestDirectoryNamedByTheUserWins", "DEVSERVICES_PATH="+dir, "DEVSERVICES_TMP="+dir)
}

// TestColdStart shows what a machine sees that never ran PostgreSQL: initdb and all, within the promised time even when
// the machine is busy with the other tests.
func TestColdStart(t *testing.T) {
	t.Parallel()
	if !isAgain() {
		again(t, exec.CommandContext(t.Context(), self(t)), "TestColdStart", "XDG_CACHE_HOME="+t.TempDir(), "HOME="+t.TempDir())
		return
	}
	for _, state := range []string{"cold", "warm"} {
		begin := time.Now()
		p, r := startPostgres(t), startRedis(t)
		exec1(t, connect(t, p.URL()), "SELECT 1")
		do(t, r, "PING")
		took := time.Since(begin)
		t.Logf("PostgreSQL and Redis, %s: %v", state, took)
		// Alone it is 1.2 s cold and 0.2 s warm; the bound leaves room for everything else that runs now.
		if took > 20*time.Second {
			t.Errorf("PostgreSQL and Redis, %s: took %v", state, took)
		}
	}
}

func TestDamagedTemplateIsReplaced(t *testing.T) {
	t.Parallel()
	if !isAgain() {
		again(t, exec.CommandContext(t.Context(), self(t)), "TestDamagedTemplateIsReplaced", "XDG_CACHE_HOME="+t.TempDir(), "HOME="+t.TempDir())
		return
	}
	startPostgres(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(cache, "pedro-devservices", "*", "data", "global", "pg_control"))
	if err != nil || len(files) != 1 {
		t.Fatalf("templates: got %v, %v, want one", files, err)
	}
	if err := os.Truncate(files[0], 0); err != nil { // what a power cut leaves of a file that was not synced
		t.Fatal(err)
	}
	startPostgres(t)
}

// TestAsAnOrdinaryUser does the main things again as nobody, when the tests run as root.
func TestAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	if isAgain() {
		if os.Getuid() == 0 {
			t.Fatal("still root")
		}
		p, r := startPostgres(t), startRedis(t, devservices.WithAppendOnly())
		exec1(t, connect(t, startPgBouncer(t, p).URL()+"&default_query_exec_mode=simple_protocol"), "SELECT 1")
		if err := errors.Join(p.Kill(), r.Kill()); err != nil {
			t.Fatalf("Kill: got error %v, want none", err)
		}
		if err := errors.Join(p.Restart(t.Context()), r.Restart(t.Context())); err != nil {
			t.Fatalf("Restart: got error %v, want none", err)
		}
		exec1(t, connect(t, startReplica(t, p).URL()), "SELECT 1")
		return
	}
	cmd, tmp := asNobody(t)
	again(t, cmd, "TestAsAnOrdinaryUser", "HOME=/nonexistent", "XDG_CACHE_HOME=", "TMPDIR="+tmp)
}
