package devservices

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pedro-go/pedro/internal/ports"
)

// DefaultStartTimeout bounds each step of a start, a restart or a stop whose context has no deadline. The slowest healthy
// one seen, a first initdb on a busy machine, takes two seconds.
const DefaultStartTimeout = 30 * time.Second

// server is one process on one port: what Redis, PostgreSQL and PgBouncer have in common, and what the exported types
// embed. Its states:
//
//	          Start…            Kill, Stop, or it dies
//	(nothing) ------> running <------------------------> down --Close--> closed
//	                   |   ^           Restart
//	             Pause v   | Resume
//	                  paused
type server struct {
	kind string // "redis", "postgres", "pgbouncer": names directory and errors
	bed  *bed
	dir  string
	port *ports.Port

	exe         string
	args        []string
	env         []string
	stopSignal  syscall.Signal // ends it in good order
	deathSignal syscall.Signal // ends it when we die: fast, but leaving nothing behind
	probe       func(context.Context) error
	transient   string     // a line in the log after which a start is simply tried again
	afterKill   func()     // cleans up what the server would have, had it not been killed
	box         *container // nil: a process of our own

	mu     sync.Mutex
	run    *run
	frozen []int // processes stopped by Pause, the server itself first
	closed bool
}

// newServer acquires what every server needs: the bed, a directory and a port.
func newServer(kind string) (*server, error) {
	b, err := acquireBed()
	if err != nil {
		return nil, err
	}
	dir, err := b.newDir(kind)
	if err != nil {
		return nil, errors.Join(err, b.release())
	}
	port, err := ports.Reserve()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("devservices: %w", err), b.release())
	}
	return &server{
		kind: kind, bed: b, dir: dir, port: port,
		stopSignal: syscall.SIGTERM, deathSignal: syscall.SIGKILL,
	}, nil
}

// Addr is the server's address, "127.0.0.1:20000". It stays the same until Close.
func (s *server) Addr() string { return s.port.Addr() }

// Port is the number in [server.Addr].
func (s *server) Port() int { return s.port.Number() }

// PID is the process's id, 0 while the server is down.
func (s *server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.alive() {
		return 0
	}
	return s.run.cmd.Process.Pid
}

// Log is what the server has written to its log so far, from all its runs.
func (s *server) Log() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return ""
	}
	return string(text)
}

// Stop ends the server in good order; port and data are kept for [server.Restart]. If ctx ends first the server is
// killed and the error says so. Stopping a server that is down does nothing.
func (s *server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(ctx)
}

// Kill ends the server and all its child processes with SIGKILL, as a crash or the kernel's out-of-memory killer would,
// and returns when they are gone. Port and data are kept for [server.Restart].
func (s *server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.alive() {
		return fmt.Errorf("devservices: kill %s: %w", s.kind, ErrNotRunning)
	}
	return s.kill()
}

// Pause stops the server and all its child processes with SIGSTOP: connections stay open and nobody answers, as on a
// machine that hangs. A second Pause does nothing.
func (s *server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.alive() {
		return fmt.Errorf("devservices: pause %s: %w", s.kind, ErrNotRunning)
	}
	if s.frozen != nil {
		return nil
	}
	if s.box != nil {
		s.frozen = []int{s.run.cmd.Process.Pid}
		return s.box.doSoon("pause", s.box.name)
	}
	pids, err := freeze(s.run.cmd.Process.Pid)
	s.frozen = pids
	// Should we die now, the watchdog has to wake the children too, or they never hear of their parent's end.
	for _, pid := range pids[min(1, len(pids)):] {
		err = errors.Join(err, s.bed.watch(pid, s.deathSignal))
	}
	if err != nil {
		return fmt.Errorf("devservices: pause %s: %w", s.kind, err)
	}
	return nil
}

// Resume lets a paused server go on. On a server that is not paused it does nothing.
func (s *server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resume()
}

// Restart stops the server in good order if it is running, and starts it on the same port with the same data. It
// returns when the server answers. It is also how a server comes back after Stop or Kill.
func (s *server) Restart(ctx context.Context) error {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("devservices: restart %s: %w", s.kind, ErrClosed)
	}
	if err := s.stop(ctx); err != nil {
		return err
	}
	return s.start(ctx)
}

// Close ends the server at once and removes its data. It may be called twice. A server that is not closed ends with
// the program.
func (s *server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := errors.Join(s.end(), os.RemoveAll(s.dir))
	s.port.Release()
	return errors.Join(err, s.bed.release())
}

func (s *server) stop(ctx context.Context) error {
	if !s.alive() {
		return nil
	}
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	if err := s.resume(); err != nil {
		return err
	}
	if s.box != nil {
		if err := s.box.do(ctx, "stop", s.box.name); err != nil {
			return errors.Join(err, s.kill())
		}
	} else if err := sendSignal(s.run.cmd.Process.Pid, s.stopSignal); err != nil {
		return fmt.Errorf("devservices: stop %s: %w", s.kind, err)
	}
	select {
	case <-s.run.done:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("devservices: stop %s: killed: %w", s.kind, context.Cause(ctx)), s.kill())
	}
}

// endsWithin is how long a server has to end by its death signal.
const endsWithin = 3 * time.Second

// end ends the server fast but in a way that lets it clean up: a postmaster takes its children with it.
func (s *server) end() error {
	if s.box != nil {
		err := s.box.remove(s)
		if s.run != nil {
			<-s.run.done
		}
		return err
	}
	if !s.alive() {
		return nil
	}
	err := s.resume()
	if err == nil {
		err = sendSignal(s.run.cmd.Process.Pid, s.deathSignal)
	}
	timer := time.NewTimer(endsWithin)
	defer timer.Stop()
	select {
	case <-s.run.done:
		return err
	case <-timer.C:
		return errors.Join(err, s.kill())
	}
}

// killedWithin bounds the wait for processes that have been sent SIGKILL.
const killedWithin = 5 * time.Second

// kill stops the whole tree first: a postmaster that is merely killed leaves time for its children to clean up, and one that
// sees a child die tells the others.
func (s *server) kill() error {
	if s.box != nil {
		err := errors.Join(s.resume(), s.box.doSoon("kill", s.box.name))
		if err == nil {
			<-s.run.done
		}
		return err
	}
	pid := s.run.cmd.Process.Pid
	pids, err := freeze(pid)
	for _, p := range pids {
		err = errors.Join(err, sendSignal(p, syscall.SIGKILL))
	}
	if err != nil {
		return fmt.Errorf("devservices: kill %s: %w", s.kind, err)
	}
	<-s.run.done
	if !goneWithin(killedWithin, pids) {
		return fmt.Errorf("devservices: kill %s: processes are left after %v", s.kind, killedWithin)
	}
	for _, p := range s.frozen {
		s.bed.unwatch(p)
	}
	s.frozen = nil
	if s.afterKill != nil {
		s.afterKill()
	}
	return nil
}

func (s *server) resume() error {
	if s.box != nil && s.frozen != nil {
		s.frozen = nil
		return s.box.doSoon("unpause", s.box.name)
	}
	var err error
	// The server itself last: it should find its children awake.
	for i, pid := range slices.Backward(s.frozen) {
		err = errors.Join(err, sendSignal(pid, sigContinue))
		if i > 0 {
			s.bed.unwatch(pid)
		}
	}
	s.frozen = nil
	if err != nil {
		return fmt.Errorf("devservices: resume %s: %w", s.kind, err)
	}
	return nil
}

// alive reports whether the process is there. The caller holds mu.
func (s *server) alive() bool {
	if s.run == nil {
		return false
	}
	select {
	case <-s.run.done:
		return false
	default:
		return true
	}
}

func withDefaultTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, DefaultStartTimeout,
		fmt.Errorf("no answer within %v (devservices.DefaultStartTimeout): %w", DefaultStartTimeout, context.DeadlineExceeded))
}
