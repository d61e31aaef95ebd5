package harness

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestApart: this process has one processor and a server another, and both have
// all of them afterwards.
func TestApart(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/bin/sleep", dir+"/redis-server"); err != nil { // a process is named after its file
		t.Fatal(err)
	}
	server := exec.Command(dir+"/redis-server", "60")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	on := func(pid int) (list string) {
		t.Helper()
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(pid, &set); err != nil {
			t.Fatal(err)
		}
		for cpu := range len(set) * 64 {
			if set.IsSet(cpu) {
				list += strconv.Itoa(cpu) + " "
			}
		}
		return list
	}
	before := on(0)
	if runtime.NumCPU() < 2 {
		t.Skip("one processor")
	}
	together := apart()
	if ours, theirs := on(0), on(server.Process.Pid); ours == theirs || len(strings.Fields(ours)) != 1 || len(strings.Fields(theirs)) != 1 {
		t.Errorf("we are on %q, the server on %q, want one each", ours, theirs)
	}
	together()
	if ours, theirs := on(0), on(server.Process.Pid); ours != before || theirs != before {
		t.Errorf("afterwards we are on %q, the server on %q, want %q", ours, theirs, before)
	}
}
