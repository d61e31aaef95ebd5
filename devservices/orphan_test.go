package devservices_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pedro-go/pedro/devservices"
)

// victim is what a process that is about to be killed says about its servers.
type victim struct {
	Dir      string
	Watchdog int
	PIDs     []int
}

// beVictim is the test binary run again: it starts servers, says which, and waits for its end.
func beVictim(how string) {
	v, err := startVictim(how)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	select {}
}

func startVictim(how string) (*victim, error) {
	if how == "watchdog" {
		devservices.WatchdogOnly()
	}
	ctx, cancel := testContext()
	defer cancel()
	r, err := devservices.StartRedis(ctx)
	if err != nil {
		return nil, err
	}
	frozen, err := devservices.StartRedis(ctx)
	if err != nil {
		return nil, err
	}
	p, err := devservices.StartPostgres(ctx)
	if err != nil {
		return nil, err
	}
	q, err := devservices.StartPostgres(ctx)
	if err != nil {
		return nil, err
	}
	v := &victim{Dir: devservices.RunDir(), Watchdog: devservices.WatchdogPID()}
	for _, tree := range [][]int{r.Tree(), frozen.Tree(), p.Tree(), q.Tree()} {
		v.PIDs = append(v.PIDs, tree...)
	}
	if how == "kernel" {
		return v, nil
	}
	if err := frozen.Pause(); err != nil {
		return nil, err
	}
	return v, q.Pause()
}

func TestNothingOutlivesAKilledProcess(t *testing.T) {
	t.Parallel()
	for _, how := range []string{
		"both",     // as it is, with servers that are paused
		"watchdog", // as on systems without parent-death signals
		"kernel",   // the watchdog is killed first
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			v, cmd := runVictim(t, how)
			if len(v.PIDs) < 8 {
				t.Fatalf("processes of four servers: got %d, want 8 or more", len(v.PIDs))
			}
			if how == "kernel" {
				watchdog, err := os.FindProcess(v.Watchdog)
				if err != nil {
					t.Fatal(err)
				}
				if err := watchdog.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			eventually(t, "all servers are gone", func() bool { return devservices.Gone(v.PIDs) })
			if how == "kernel" {
				devservices.Sweep(v.Dir) // nobody was left to remove the directory
			}
			eventually(t, "the directory is gone", func() bool {
				_, err := os.Stat(v.Dir)
				return os.IsNotExist(err)
			})
		})
	}
}

func TestSweepLeavesTheLivingAlone(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	devservices.Sweep(devservices.RunDir())
	do(t, r, "PING")
	if _, err := os.Stat(filepath.Join(devservices.RunDir(), "lock")); err != nil {
		t.Errorf("the directory of a living run was swept: %v", err)
	}
}

func runVictim(t *testing.T, how string) (*victim, *exec.Cmd) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "DEVSERVICES_VICTIM="+how)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // ends with us, if we are killed
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	v := &victim{}
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(v); err != nil {
		t.Fatalf("the process that starts servers: %v", err)
	}
	return v, cmd
}
