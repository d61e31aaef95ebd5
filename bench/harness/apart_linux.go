package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// apart gives the servers that this process has started the last processor, and
// this process and its other children the first, as if they were two machines.
// A single caller and its server otherwise share one for a while, or do not, and
// that alone makes a round trip half or twice as long. What is started
// meanwhile inherits it. The function returned ends it.
func apart() (together func()) {
	var all unix.CPUSet
	if unix.SchedGetaffinity(0, &all) != nil || all.Count() < 2 {
		return func() {}
	}
	var first, last unix.CPUSet
	for cpu := range len(all) * 64 { // numbers may have gaps
		if all.IsSet(cpu) {
			if first.Count() == 0 {
				first.Set(cpu)
			}
			last.Zero()
			last.Set(cpu)
		}
	}
	procs := runtime.GOMAXPROCS(1)
	place(&first, &last)
	return func() {
		place(&all, &all)
		runtime.GOMAXPROCS(procs)
	}
}

// place puts this process and its descendants on processors, by whether they are
// servers.
func place(clients, servers *unix.CPUSet) {
	for range 2 { // a thread may be made while the others are placed
		for pid, name := range descendants() {
			set := clients
			if name == "postgres" || strings.HasPrefix(name, "redis-server") {
				set = servers
			}
			tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
			for _, task := range tasks {
				if tid, err := strconv.Atoi(filepath.Base(task)); err == nil {
					_ = unix.SchedSetaffinity(tid, set) // it may have ended
				}
			}
		}
	}
}

// descendants returns this process and what it has started, with their names.
func descendants() map[int]string {
	names, children := map[int]string{}, map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// 4711 (name) S 42 …
		head, tail, _ := strings.Cut(string(text), " (")
		end := strings.LastIndex(tail, ") ")
		fields := strings.Fields(tail[max(end, 0):]) // from ")" on
		if end < 0 || len(fields) < 3 {
			continue
		}
		pid, _ := strconv.Atoi(head)
		parent, _ := strconv.Atoi(fields[2])
		names[pid] = tail[:end]
		children[parent] = append(children[parent], pid)
	}
	found := map[int]string{}
	for queue := []int{os.Getpid()}; len(queue) > 0; queue = queue[1:] {
		found[queue[0]] = names[queue[0]]
		queue = append(queue, children[queue[0]]...)
	}
	return found
}
