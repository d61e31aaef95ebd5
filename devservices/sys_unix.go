//go:build unix

package devservices

import (
	"errors"
	"os"
	"syscall"
)

const (
	sigStop     = syscall.SIGSTOP
	sigContinue = syscall.SIGCONT
	sigUser1    = syscall.SIGUSR1
)

// sendSignal sends sig to a process. A process that is gone already is no error.
func sendSignal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// exists reports whether the process is there, even as a zombie.
func exists(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// isOurs reports whether the file belongs to the user we run as.
func isOurs(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}

// ownGroup puts a child into a process group of its own, out of the reach of Ctrl-C at the terminal.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// serverAttr is [ownGroup] with the account to run as, nil for our own, and the signal to send when we die.
func serverAttr(who *account, death syscall.Signal) *syscall.SysProcAttr {
	attr := ownGroup()
	if who != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(who.uid), Gid: uint32(who.gid)}
	}
	setDeathSignal(attr, death)
	return attr
}
