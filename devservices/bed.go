package devservices

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pedro-go/pedro/internal/filelock"
)

// bed is what the servers of one process share: a directory, the thread that forks them, and the watchdog that ends
// them when this process dies. It is made for the first server and unmade after the last one is closed.
type bed struct {
	account  *account // whom servers run as; nil: whoever we are
	dir      string   // <base>/r<random>, holds lock, pids/ and one directory per server
	forks    chan func()
	watchdog *exec.Cmd
	lifeline *os.File // the watchdog's standard input: it acts when nobody holds the other end any more

	users int // guarded by current.Mutex
	names int // guarded by current.Mutex
}

var current struct {
	sync.Mutex

	bed *bed
}

// acquireBed returns the process's bed, made if need be. Each call wants one release.
func acquireBed() (*bed, error) {
	current.Lock()
	defer current.Unlock()
	if current.bed == nil {
		b, err := openBed()
		if err != nil {
			return nil, err
		}
		current.bed = b
	}
	current.bed.users++
	return current.bed, nil
}

// release gives the bed back. The last one removes it.
func (b *bed) release() error {
	current.Lock()
	defer current.Unlock()
	b.users--
	if b.users > 0 {
		return nil
	}
	current.bed = nil
	return b.close()
}

func openBed() (*bed, error) {
	who, err := serverAccount()
	if err != nil {
		return nil, err
	}
	base, err := baseDir(who)
	if err != nil {
		return nil, err
	}
	sweep(base)
	dir, lock, err := makeRunDir(base)
	if err != nil {
		return nil, err
	}
	b := &bed{account: who, dir: dir, forks: make(chan func())}
	if err := b.startWatchdog(lock); err != nil {
		return nil, errors.Join(err, lock.Close(), os.RemoveAll(dir))
	}
	// The watchdog inherited the lock and holds it until it has cleaned up.
	if err := lock.Close(); err != nil {
		return nil, errors.Join(err, b.closeWatchdog())
	}
	go forker(b.forks)
	return b, nil
}

// makeRunDir makes this run's directory, with its lock held. The directory takes its final name only when the lock is
// held, so that a sweep of another process never sees it without.
func makeRunDir(base string) (string, *os.File, error) {
	raw, err := os.MkdirTemp(base, "new-")
	if err != nil {
		return "", nil, fmt.Errorf("devservices: %w", err)
	}
	fail := func(err error) (string, *os.File, error) {
		return "", nil, errors.Join(fmt.Errorf("devservices: %w", err), os.RemoveAll(raw))
	}
	// Servers under another account pass through, but cannot list.
	if err := os.Chmod(raw, 0o711); err != nil { //nolint:gosec // see above; each server's own directory is 0700
		return fail(err)
	}
	if err := os.Mkdir(filepath.Join(raw, "pids"), 0o700); err != nil {
		return fail(err)
	}
	lock, err := filelock.TryLock(filepath.Join(raw, "lock"))
	if err != nil {
		return fail(err)
	}
	dir := filepath.Join(base, "r"+strings.TrimPrefix(filepath.Base(raw), "new-"))
	if err := os.Rename(raw, dir); err != nil {
		return fail(errors.Join(err, lock.Close()))
	}
	return dir, lock, nil
}

// staleAfter is when a directory that never got its final name is taken for the remains of a killed process.
const staleAfter = 10 * time.Minute

// sweep removes the directories of runs that are over and could not clean up, for instance after a power cut.
func sweep(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "new-"):
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > staleAfter {
				_ = os.RemoveAll(dir)
			}
		case strings.HasPrefix(e.Name(), "r"):
			if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil {
				continue // its own watchdog is removing it just now
			}
			if lock, err := filelock.TryLock(filepath.Join(dir, "lock")); err == nil {
				_ = os.RemoveAll(dir)
				_ = lock.Close()
			}
		}
	}
}

func (b *bed) close() error {
	close(b.forks)
	if err := b.closeWatchdog(); err != nil {
		return fmt.Errorf("devservices: watchdog: %w", err)
	}
	return nil
}

// forker starts all servers from one thread that lives as long as the bed. Linux sends the parent-death signal when the
// forking *thread* ends (golang/go#27505), and the runtime ends threads as it likes.
func forker(forks <-chan func()) {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	for f := range forks {
		f()
	}
}

// fork starts cmd on the bed's thread.
func (b *bed) fork(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	b.forks <- func() { done <- cmd.Start() }
	return <-done
}

// newDir makes a private directory for one server, owned by the account that will run it.
func (b *bed) newDir(kind string) (string, error) {
	current.Lock()
	b.names++
	dir := filepath.Join(b.dir, kind+"-"+strconv.Itoa(b.names))
	current.Unlock()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("devservices: %w", err)
	}
	return dir, b.own(dir)
}

// writeFile writes a file that only the server's account can read.
func (b *bed) writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil { //nolint:gosec // below our own directory
		return fmt.Errorf("devservices: %w", err)
	}
	return b.own(path)
}

// own gives path to the account that runs servers.
func (b *bed) own(path string) error {
	if b.account == nil {
		return nil
	}
	if err := os.Chown(path, b.account.uid, b.account.gid); err != nil {
		return fmt.Errorf("devservices: %w", err)
	}
	return nil
}
