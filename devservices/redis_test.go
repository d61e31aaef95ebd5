package devservices_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
)

func startRedis(t *testing.T, opts ...devservices.RedisOption) *devservices.Redis {
	t.Helper()
	r, err := devservices.StartRedis(t.Context(), opts...)
	if err != nil {
		t.Fatalf("StartRedis: got error %v, want none", err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: got error %v, want none", err)
		}
	})
	return r
}

func do(t *testing.T, r *devservices.Redis, args ...string) any {
	t.Helper()
	reply, err := r.Do(t.Context(), args...)
	if err != nil {
		t.Fatalf("Do(%q): got error %v, want none", args, err)
	}
	return reply
}

// eventually polls until ok holds: for what a real process does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("after 20 s still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestRedisAnswersAndListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	if got, want := do(t, r, "SET", "k", "v"), any("OK"); got != want {
		t.Errorf("SET: got %v, want %v", got, want)
	}
	if got, want := r.URL(), "redis://"+r.Addr()+"/0"; got != want {
		t.Errorf("URL() = %q, want %q", got, want)
	}
	if !strings.HasPrefix(r.Addr(), "127.0.0.1:") {
		t.Errorf("Addr() = %q, want loopback", r.Addr())
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.IsLoopback() || ip.IP.To4() == nil {
			continue
		}
		address := strings.Replace(r.Addr(), "127.0.0.1", ip.IP.String(), 1)
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			_ = c.Close()
			t.Errorf("dial %s: got a connection, want none", address)
		}
	}
}

func TestRedisKilledLosesNothingAcknowledgedWithAppendOnly(t *testing.T) {
	t.Parallel()
	r := startRedis(t, devservices.WithAppendOnly())
	do(t, r, "SET", "k", "v")
	addr, pid := r.Addr(), r.PID()
	if err := r.Kill(); err != nil {
		t.Fatalf("Kill: got error %v, want none", err)
	}
	if r.PID() != 0 {
		t.Errorf("PID after Kill: got %d, want 0", r.PID())
	}
	if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		_ = c.Close()
		t.Error("dial after Kill: got a connection, want refusal")
	}
	if err := r.Kill(); !errors.Is(err, devservices.ErrNotRunning) {
		t.Errorf("second Kill: got error %v, want ErrNotRunning", err)
	}
	if err := r.Restart(t.Context()); err != nil {
		t.Fatalf("Restart: got error %v, want none", err)
	}
	if r.Addr() != addr || r.PID() == pid {
		t.Errorf("after Restart: got %s as process %d, want %s as another than %d", r.Addr(), r.PID(), addr, pid)
	}
	if got, want := do(t, r, "GET", "k"), any("v"); got != want {
		t.Errorf("GET after kill and restart: got %v, want %v", got, want)
	}
}

func TestRedisPausedKeepsConnectionsAndAnswersNobody(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := errors.Join(r.Pause(), r.Pause()); err != nil {
		t.Fatalf("Pause twice: got error %v, want none", err)
	}
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		t.Fatalf("write to a paused server: got error %v, want none", err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read from a paused server: got error %v, want a timeout", err)
	}
	if err := errors.Join(r.Resume(), r.Resume()); err != nil {
		t.Fatalf("Resume twice: got error %v, want none", err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || line != "+PONG\r\n" {
		t.Errorf("reply after Resume: got %q, %v, want +PONG", line, err)
	}
}

func TestRedisStopRestartClose(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	if err := errors.Join(r.Stop(t.Context()), r.Stop(t.Context())); err != nil {
		t.Fatalf("Stop twice: got error %v, want none", err)
	}
	if err := r.Pause(); !errors.Is(err, devservices.ErrNotRunning) {
		t.Errorf("Pause of a stopped server: got error %v, want ErrNotRunning", err)
	}
	if err := r.Restart(t.Context()); err != nil {
		t.Fatalf("Restart: got error %v, want none", err)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Fatalf("Close twice: got error %v, want none", err)
	}
	if err := r.Restart(t.Context()); !errors.Is(err, devservices.ErrClosed) {
		t.Errorf("Restart after Close: got error %v, want ErrClosed", err)
	}
}

func TestRedisStopOfABusyServerIsBoundedByContext(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	go func() { _, _ = r.Do(context.Background(), "EVAL", "while true do end", "0") }()
	eventually(t, "the server is busy", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := r.Do(ctx, "PING")
		return err != nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop of a server that does not listen: got error %v, want DeadlineExceeded", err)
	}
	if r.PID() != 0 {
		t.Error("the server outlived its Stop")
	}
}

func TestRedisPasswordAndUsers(t *testing.T) {
	t.Parallel()
	r := startRedis(t, devservices.WithPassword("s3cret word"), devservices.WithUser("app", "pw", "~app:*", "+get", "+set"))
	if got, want := r.URL(), "redis://:s3cret%20word@"+r.Addr()+"/0"; got != want {
		t.Errorf("URL() = %q, want %q", got, want)
	}
	if got, want := r.UserURL("app"), "redis://app:pw@"+r.Addr()+"/0"; got != want {
		t.Errorf("UserURL(app) = %q, want %q", got, want)
	}
	do(t, r, "SET", "app:1", "x")
	got, ok := do(t, r, "ACL", "DRYRUN", "app", "GET", "other").(string)
	if !ok || !strings.Contains(got, "no permissions") {
		t.Errorf("ACL DRYRUN app GET other: got %q, want a refusal", got)
	}
	info, err := os.Stat(r.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), os.FileMode(0o600); got != want {
		t.Errorf("mode of the file with the password: got %o, want %o", got, want)
	}
	cmdline, err := os.ReadFile(r.ProcFile("cmdline"))
	if err == nil && strings.Contains(string(cmdline), "s3cret") {
		t.Error("the password is in the command line")
	}
}

func TestRedisConfigAndUnixSocket(t *testing.T) {
	t.Parallel()
	r := startRedis(t, devservices.WithRedisConfig("maxmemory 3mb"), devservices.WithUnixSocket())
	list, ok := do(t, r, "CONFIG", "GET", "maxmemory").([]any)
	if !ok || len(list) != 2 || list[1] != "3145728" {
		t.Errorf("CONFIG GET maxmemory: got %v, want 3145728", list)
	}
	conn, err := net.Dial("unix", r.Socket())
	if err != nil {
		t.Fatalf("dial the socket: got error %v, want none", err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRedisThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := devservices.StartRedis(t.Context(), devservices.WithRedisConfig("no-such-directive yes"))
	if err == nil || !strings.Contains(err.Error(), "no-such-directive") {
		t.Errorf("StartRedis with a wrong directive: got error %v, want one that shows it", err)
	}
}
