package devservices

import (
	"os"
	"path/filepath"
	"strconv"
)

// WatchdogOnly turns the kernel's parent-death signal off for servers started from now on.
func WatchdogOnly() { watchdogOnly = true }

// RunDir is the directory of the process's servers, empty if there is none.
func RunDir() string {
	current.Lock()
	defer current.Unlock()
	if current.bed == nil {
		return ""
	}
	return current.bed.dir
}

// Tree lists a server's processes.
func (s *server) Tree() []int { return append([]int{s.PID()}, descendants(s.PID())...) }

// Gone reports whether none of the processes is left.
func Gone(pids []int) bool { return goneWithin(0, pids) }

// WatchdogPID is the process id of the watchdog.
func WatchdogPID() int { return current.bed.watchdog.Process.Pid }

// Sweep removes what dead runs left below the directory that holds dir.
func Sweep(dir string) { sweep(filepath.Dir(dir)) }

// ConfigFile is the path of the server's redis.conf.
func (r *Redis) ConfigFile() string { return r.args[0] }

// ProcFile is the path of one of Linux's files about the server.
func (s *server) ProcFile(name string) string {
	return "/proc/" + strconv.Itoa(s.PID()) + "/" + name
}

// Exe is the program that the server runs.
func (s *server) Exe() string { return s.exe }

// InstallLine is how PgBouncer is installed on a machine whose programs are in dir.
func InstallLine(dir string) string {
	return pgbouncerProduct.hint("linux", func(name string) bool {
		_, err := os.Stat(dir + "/" + name)
		return err == nil
	})
}
