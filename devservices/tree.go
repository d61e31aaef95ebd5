package devservices

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// descendants lists the processes below pid, parents first. PostgreSQL's backends lead sessions of their own, so a
// process group does not hold them together; parenthood does.
func descendants(pid int) []int {
	children := map[int][]int{}
	for child, parent := range parents() {
		children[parent] = append(children[parent], child)
	}
	var all []int
	queue := children[pid]
	for len(queue) > 0 {
		p := queue[0]
		queue = append(queue[1:], children[p]...)
		all = append(all, p)
	}
	return all
}

// parents maps every process that can be seen to its parent.
func parents() map[int]int {
	proc, err := os.ReadDir("/proc")
	if err != nil || len(proc) == 0 {
		return parentsByPS()
	}
	m := map[int]int{}
	for _, e := range proc {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, parent, ok := readStat(pid); ok {
			m[pid] = parent
		}
	}
	return m
}

// readStat reads state and parent from Linux's /proc/<pid>/stat. The second field is the command's name in parentheses and
// may hold anything, so the rest is found from its end.
func readStat(pid int) (state string, parent int, ok bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", 0, false
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 2 {
		return "", 0, false
	}
	parent, err = strconv.Atoi(f[1])
	return f[0], parent, err == nil
}

// parentsByPS is for systems without /proc.
func parentsByPS() map[int]int {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output() //nolint:noctx // ends by itself at once
	if err != nil {
		return nil
	}
	m := map[int]int{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		pid, err1 := strconv.Atoi(f[0])
		parent, err2 := strconv.Atoi(f[1])
		if err1 == nil && err2 == nil {
			m[pid] = parent
		}
	}
	return m
}

// freeze stops pid and everything below it, and returns whom it stopped, pid first. A process may fork until its stop
// takes effect, so it looks again until it finds nobody new.
func freeze(pid int) ([]int, error) {
	if err := sendSignal(pid, sigStop); err != nil {
		return nil, err
	}
	stopped := []int{pid}
	for more := true; more; {
		more = false
		time.Sleep(time.Millisecond)
		for _, p := range descendants(pid) {
			if slices.Contains(stopped, p) {
				continue
			}
			if err := sendSignal(p, sigStop); err != nil {
				return stopped, err
			}
			stopped = append(stopped, p)
			more = true
		}
	}
	return stopped, nil
}

// goneWithin waits until none of the processes is left. A zombie counts as gone: it only waits for its new parent to take
// note, and some of those take their time.
func goneWithin(limit time.Duration, pids []int) bool {
	deadline := time.Now().Add(limit)
	for {
		left := slices.ContainsFunc(pids, func(pid int) bool {
			state, _, ok := readStat(pid)
			return exists(pid) && (!ok || state != "Z")
		})
		if !left {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(2 * time.Millisecond)
	}
}
