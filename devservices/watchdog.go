package devservices

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// watchdogScript ends every server and removes the directory once its standard input ends, that is: when this process
// is gone, for whatever reason, or closes the bed. Each file in pids/ is named after a process and holds the signal
// that ends it; containers/ holds the command line that removes a container. It has to run with any POSIX shell.
const watchdogScript = `
trap '' HUP INT QUIT TERM
while read -r _; do :; done
cd "$1" || exit 0
for f in pids/*; do
	[ -f "$f" ] || continue
	read -r sig <"$f"
	kill -CONT "${f#pids/}"
	kill -"$sig" "${f#pids/}"
done
tries=0
while [ $tries -lt 40 ]; do
	alive=
	for f in pids/*; do
		[ -f "$f" ] && kill -0 "${f#pids/}" && alive=yes
	done
	[ -n "$alive" ] || break
	tries=$((tries + 1))
	sleep 0.05
done
for f in pids/*; do
	[ -f "$f" ] && kill -KILL "${f#pids/}"
done
for f in containers/*; do
	[ -f "$f" ] && . "$f"
done
cd / && rm -rf "$1"
`

func (b *bed) startWatchdog(lock *os.File) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("devservices: watchdog: %w", err)
	}
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "devservices-watchdog", b.dir) //nolint:gosec,noctx // our own directory; outlives every context
	cmd.Stdin = r
	cmd.ExtraFiles = []*os.File{lock}
	cmd.Dir = "/"
	cmd.SysProcAttr = ownGroup()
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("devservices: watchdog: %w", err), r.Close(), w.Close())
	}
	b.watchdog, b.lifeline = cmd, w
	return r.Close()
}

func (b *bed) closeWatchdog() error {
	err := b.lifeline.Close()
	return errors.Join(err, b.watchdog.Wait())
}

// watch makes the watchdog end process pid with sig when this process dies; unwatch takes that back.
func (b *bed) watch(pid int, sig syscall.Signal) error {
	return os.WriteFile(b.pidFile(pid), []byte(strconv.Itoa(int(sig))+"\n"), 0o600)
}

func (b *bed) unwatch(pid int) { _ = os.Remove(b.pidFile(pid)) }

func (b *bed) pidFile(pid int) string { return filepath.Join(b.dir, "pids", strconv.Itoa(pid)) }
