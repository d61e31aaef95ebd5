package main_test

import (
	"bufio"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// build compiles the command once for a test.
func build(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "devservices")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return exe
}

func TestCommand(t *testing.T) {
	t.Parallel()
	exe := build(t)

	t.Run("runs the program with addresses", func(t *testing.T) {
		t.Parallel()
		cmd := exec.CommandContext(t.Context(), exe, "redis", "postgres", "replica", "pgbouncer", "--", "sh", "-c",
			`echo "$REDIS_URL $DATABASE_URL $POSTGRES_URL $DB_REPLICA_URLS"; exit 7`)
		out, _ := cmd.Output()
		if got, want := cmd.ProcessState.ExitCode(), 7; got != want {
			t.Errorf("exit status: got %d, want the program's, %d", got, want)
		}
		urls := strings.Fields(string(out))
		if len(urls) != 4 {
			t.Fatalf("addresses: got %q, want 4", urls)
		}
		for i, scheme := range []string{"redis", "postgres", "postgres", "postgres"} {
			u, err := url.Parse(urls[i])
			if err != nil || u.Scheme != scheme {
				t.Fatalf("address %d: got %q, want a %s URL", i, urls[i], scheme)
			}
			if c, err := net.DialTimeout("tcp", u.Host, time.Second); err == nil {
				_ = c.Close()
				t.Errorf("dial %s after the end: got a connection, want none", scheme)
			}
		}
	})

	t.Run("waits for a signal without a program", func(t *testing.T) {
		t.Parallel()
		cmd := exec.CommandContext(t.Context(), exe, "redis")
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "export REDIS_URL='redis://127.0.0.1:") {
			t.Errorf("first line: got %q, %v, want an export of REDIS_URL", line, err)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after an interrupt: got %v, want status 0", err)
		}
	})

	t.Run("passes SIGTERM on", func(t *testing.T) {
		t.Parallel()
		cmd := exec.CommandContext(t.Context(), exe, "redis", "--", "sh", "-c", `trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done`)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if got, want := cmd.ProcessState.ExitCode(), 3; got != want {
			t.Errorf("exit status: got %d, want the program's, %d", got, want)
		}
	})

	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no server":       {nil, "which servers?"},
		"unknown server":  {[]string{"mysql"}, `no server is called "mysql"`},
		"twice":           {[]string{"redis", "redis"}, "named twice"},
		"two of one kind": {[]string{"redis", "cluster"}, "exclude one another"},
		"no program":      {[]string{"redis", "--"}, "no program after --"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), exe, c.args...)
			out, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), c.want) {
				t.Errorf("got status %d and %q, want 2 and %q", cmd.ProcessState.ExitCode(), out, c.want)
			}
		})
	}
	t.Run("nothing installed", func(t *testing.T) {
		t.Parallel()
		cmd := exec.CommandContext(t.Context(), exe, "redis", "postgres")
		cmd.Env = append(os.Environ(), "DEVSERVICES=off")
		out, _ := cmd.CombinedOutput()
		if text := string(out); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(text, "Redis is") || !strings.Contains(text, "PostgreSQL is") {
			t.Errorf("got status %d and %q, want 1 and both servers named", cmd.ProcessState.ExitCode(), text)
		}
	})
}
