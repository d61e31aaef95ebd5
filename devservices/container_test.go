package devservices_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
)

// TestContainer shows that containers are asked for and steered rightly, with a stand-in for Docker's command that runs
// Redis as a process. That real engines do what they are told is not shown.
func TestContainer(t *testing.T) {
	if os.Getenv("FAKE_DOCKER") != "" {
		t.Run("redis", containedRedis)
		t.Run("postgres", containedPostgres)
		return
	}
	t.Parallel()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("the stand-in needs redis-server")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestContainer$", "-test.v")
	cmd.Env = append(os.Environ(), "FAKE_DOCKER="+t.TempDir(), "DEVSERVICES=container", "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestContainer/redis") {
		t.Errorf("with a stand-in for Docker: got %v\n%s", err, out)
	}
}

func containedRedis(t *testing.T) {
	r := startRedis(t, devservices.WithAppendOnly(), devservices.WithPassword("pw"))
	do(t, r, "SET", "k", "v")
	if err := r.Kill(); err != nil {
		t.Fatalf("Kill: got error %v, want none", err)
	}
	if err := r.Restart(t.Context()); err != nil {
		t.Fatalf("Restart: got error %v, want none", err)
	}
	if got := do(t, r, "GET", "k"); got != "v" {
		t.Errorf("GET after kill and restart: got %v, want v", got)
	}
	if err := errors.Join(r.Pause(), r.Pause()); err != nil {
		t.Fatalf("Pause twice: got error %v, want none", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.Do(ctx, "PING"); err == nil {
		t.Error("PING while paused: got an answer, want none")
	}
	if err := r.Resume(); err != nil {
		t.Fatalf("Resume: got error %v, want none", err)
	}
	do(t, r, "PING")
	if err := r.Stop(t.Context()); err != nil {
		t.Fatalf("Stop: got error %v, want none", err)
	}
	if err := r.Restart(t.Context()); err != nil {
		t.Fatalf("Restart: got error %v, want none", err)
	}
	if err := r.Close(); err != nil {
		t.Fatalf("Close: got error %v, want none", err)
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("FAKE_DOCKER"), "pedro-*"))
	if err != nil {
		t.Fatal(err)
	}
	left = slices.DeleteFunc(left, func(path string) bool { return strings.HasSuffix(path, ".conf") })
	if len(left) > 0 {
		t.Errorf("left after Close: got %v, want nothing", left)
	}
	calls, err := os.ReadFile(filepath.Join(os.Getenv("FAKE_DOCKER"), "calls"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(calls), "pull -q redis:7-alpine\n"); n != 1 {
		t.Errorf("pulls of the image: got %d, want 1 in\n%s", n, calls)
	}
	if strings.Contains(string(calls), "pw") {
		t.Errorf("the password is in the command line:\n%s", calls)
	}
}

func containedPostgres(t *testing.T) {
	p, err := devservices.StartPostgres(t.Context(), devservices.WithPostgresConfig("work_mem", "8MB"))
	if err == nil {
		_ = p.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "125") {
		t.Errorf("StartPostgres with a stand-in that knows only Redis: got %v, want its status 125", err)
	}
	calls, err := os.ReadFile(filepath.Join(os.Getenv("FAKE_DOCKER"), "calls"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{":5432 --env-file ", "-e PGDATA=/pedro/data postgres:17-alpine postgres -c fsync=off", "-c work_mem=8MB\n"} {
		if !strings.Contains(string(calls), want) {
			t.Errorf("what Docker was told: got\n%s\nwant %q in it", calls, want)
		}
	}
}
