package devservices

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Readiness is asked for at growing intervals, so that a server which is up in 10 ms is not waited for 20.
const (
	firstProbeAfter = time.Millisecond
	probeEvery      = 20 * time.Millisecond
)

// watchdogOnly is set by a test that shows what the systems rely on whose kernel does not tell children of our death.
var watchdogOnly bool

// run is one life of the server's process.
type run struct {
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has been reaped
	err    error         // its end, to be read after done
	logged int64         // size of the log file before this run
}

// endedEarly is the error of a run that ended before its server answered.
func (r *run) endedEarly() error {
	if r.err == nil {
		return errors.New("ended before it answered, with status 0")
	}
	return fmt.Errorf("ended before it answered: %w", r.err)
}

// start forks the process and waits until the server answers.
func (s *server) start(ctx context.Context) error {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	for {
		r, err := s.launch()
		if err != nil {
			return fmt.Errorf("devservices: start %s: %w", s.kind, err)
		}
		s.run = r
		err = s.awaitReady(ctx, r)
		if err == nil {
			return nil
		}
		if s.alive() {
			err = errors.Join(err, s.kill())
		}
		log := s.logSince(r.logged)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("devservices: start %s: %w: %w%s", s.kind, context.Cause(ctx), err, excerpt(log))
		case s.transient != "" && strings.Contains(log, s.transient):
			time.Sleep(probeEvery)
		case strings.Contains(strings.ToLower(log), "address already in use"):
			return fmt.Errorf("devservices: start %s: %w: %w%s", s.kind, errPortTaken, err, excerpt(log))
		default:
			return fmt.Errorf("devservices: start %s: %w%s", s.kind, err, excerpt(log))
		}
	}
}

func (s *server) launch() (*run, error) {
	log, err := os.OpenFile(s.logFile(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the child writes, not we
	info, err := log.Stat()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(s.exe, s.args...) //nolint:gosec,noctx // a server found on this machine, which outlives ctx
	cmd.Dir = s.dir
	cmd.Env = append(childEnv(s.dir), s.env...)
	// A file, never our own output: go test waits until everybody who holds it has closed it.
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = serverAttr(s.bed.account, s.deathSignal)
	if watchdogOnly {
		setDeathSignal(cmd.SysProcAttr, 0)
	}
	if s.box != nil { // the engine's command: our own user and settings, or it does not find its service
		cmd.Env = nil
		cmd.Stdin = strings.NewReader(s.box.stdin)
		cmd.SysProcAttr = serverAttr(nil, s.deathSignal)
	}
	if err := s.bed.fork(cmd); err != nil {
		return nil, err
	}
	r := &run{cmd: cmd, done: make(chan struct{}), logged: info.Size()}
	err = s.bed.watch(cmd.Process.Pid, s.deathSignal)
	go func() {
		r.err = cmd.Wait()
		s.bed.unwatch(cmd.Process.Pid)
		close(r.done)
	}()
	if err != nil {
		_ = cmd.Process.Kill()
		<-r.done
		return nil, err
	}
	return r, nil
}

// awaitReady asks the server until it answers, dies, or ctx is done.
func (s *server) awaitReady(ctx context.Context, r *run) error {
	wait := firstProbeAfter
	for {
		err := s.probe(ctx)
		if err == nil {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-r.done:
			timer.Stop()
			return r.endedEarly()
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("does not answer: %w", err)
		case <-timer.C:
		}
		wait = min(2*wait, probeEvery)
	}
}

func (s *server) logFile() string { return filepath.Join(s.dir, s.kind+".log") }

func (s *server) logSince(offset int64) string {
	f, err := os.Open(s.logFile())
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.NewSectionReader(f, offset, 1<<20))
	if err != nil {
		return ""
	}
	return string(text)
}

// excerpt is the end of a log as part of an error.
func excerpt(log string) string {
	const lines = 8
	all := strings.Split(strings.TrimSpace(log), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	text := strings.TrimSpace(strings.Join(all, "\n\t"))
	if text == "" {
		return ""
	}
	return "; its log ends:\n\t" + text
}

// childEnv is the whole environment of a server. Nothing of the caller's leaks in: a locale makes initdb fail, PG*
// variables redirect PostgreSQL's tools.
func childEnv(home string) []string {
	env := []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", "TZ=UTC", "HOME=" + home}
	// Programs unpacked somewhere without being installed need their libraries.
	for _, name := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if v := getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}
