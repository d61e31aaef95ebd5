// Command devservices runs a program with real, private servers beside it:
//
//	go run ./cmd/devservices postgres redis -- go run ./examples/quickstart
//
// It starts the named servers, puts their addresses into the environment under the names that the packages read, runs
// the program, and ends the servers with it. Its exit status is the program's. Without a program it prints the
// addresses in a form for the shell and keeps the servers up until Ctrl-C.
//
//	redis      REDIS_URL
//	sentinel   REDIS_ADDRS, REDIS_MASTER_NAME: a master, two replicas, three sentinels
//	cluster    REDIS_ADDRS: three masters with a replica each
//	postgres   DATABASE_URL
//	replica    DB_REPLICA_URLS: a streaming replica of postgres
//	pgbouncer  DATABASE_URL through PgBouncer in transaction mode; POSTGRES_URL is the way past it
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/pedro-go/pedro/devservices"
)

const usage = `usage: devservices server... [-- program argument...]

servers: redis, sentinel or cluster; postgres, replica, pgbouncer

  devservices postgres redis -- go test ./...
  devservices postgres replica pgbouncer
`

func main() {
	status, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status) //nolint:forbidigo // a program, not a library
}

// run returns the exit status.
func run(args []string, out io.Writer) (status int, err error) {
	names, program := args, []string(nil)
	if i := slices.Index(args, "--"); i >= 0 {
		names, program = args[:i], args[i+1:]
	}
	if problem := check(names, program, slices.Contains(args, "--")); problem != "" {
		return 2, fmt.Errorf("devservices: %s\n\n%s", problem, usage)
	}
	// Ctrl-C reaches the program too, since it is in our process group; we only have to outlive it.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // a program, not a library
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	s := &set{vars: map[string]string{}}
	defer func() { err = errors.Join(err, s.close()) }()
	started := make(chan error, 1)
	go func() { started <- s.start(ctx, names) }()
	select {
	case err := <-started:
		if err != nil {
			return 1, err
		}
	case <-signals:
		cancel()
		if err := <-started; !errors.Is(err, context.Canceled) {
			return 130, err
		}
		return 130, nil
	}
	if len(program) > 0 {
		return s.runProgram(program, signals)
	}
	for _, name := range s.names() {
		if _, err := fmt.Fprintf(out, "export %s='%s'\n", name, s.vars[name]); err != nil {
			return 1, err
		}
	}
	fmt.Fprintln(os.Stderr, "devservices: up; Ctrl-C ends them")
	<-signals
	return 0, nil
}

// check says what is wrong with the command line.
func check(names, program []string, dashes bool) string {
	known := []string{"redis", "sentinel", "cluster", "postgres", "replica", "pgbouncer"}
	kinds := 0
	for i, n := range names {
		switch {
		case !slices.Contains(known, n):
			return fmt.Sprintf("no server is called %q", n)
		case slices.Contains(names[:i], n):
			return n + " is named twice"
		case slices.Contains(known[:3], n):
			kinds++
		}
	}
	switch {
	case len(names) == 0:
		return "which servers?"
	case kinds > 1:
		return "redis, sentinel and cluster exclude one another: they set the same variables"
	case dashes && len(program) == 0:
		return "no program after --"
	default:
		return ""
	}
}

// set is the servers that run and what the program is told about them.
type set struct {
	closers []interface{ Close() error } // in the order of their start
	vars    map[string]string
}

func (s *set) start(ctx context.Context, names []string) error {
	has := func(n string) bool { return slices.Contains(names, n) }
	var errs []error
	if has("redis") {
		errs = append(errs, s.startRedis(ctx))
	}
	if has("sentinel") {
		errs = append(errs, s.startSentinel(ctx))
	}
	if has("cluster") {
		errs = append(errs, s.startCluster(ctx))
	}
	if has("postgres") || has("replica") || has("pgbouncer") {
		errs = append(errs, s.startPostgres(ctx, has("replica"), has("pgbouncer")))
	}
	return errors.Join(errs...) // what is missing, all at once
}

func (s *set) startRedis(ctx context.Context) error {
	r, err := devservices.StartRedis(ctx)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, r)
	s.vars["REDIS_URL"] = r.URL()
	return nil
}

func (s *set) startSentinel(ctx context.Context) error {
	r, err := devservices.StartRedisSentinel(ctx)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, r)
	s.vars["REDIS_ADDRS"], s.vars["REDIS_MASTER_NAME"] = strings.Join(r.Addrs(), ","), r.MasterName()
	return nil
}

func (s *set) startCluster(ctx context.Context) error {
	r, err := devservices.StartRedisCluster(ctx)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, r)
	s.vars["REDIS_ADDRS"] = strings.Join(r.Addrs(), ",")
	return nil
}

func (s *set) startPostgres(ctx context.Context, replica, bouncer bool) error {
	p, err := devservices.StartPostgres(ctx)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, p)
	s.vars["DATABASE_URL"] = p.URL()
	if replica {
		r, err := p.StartReplica(ctx)
		if err != nil {
			return err
		}
		s.closers = append(s.closers, r)
		s.vars["DB_REPLICA_URLS"] = r.URL()
	}
	if bouncer {
		b, err := devservices.StartPgBouncer(ctx, p)
		if err != nil {
			return err
		}
		s.closers = append(s.closers, b)
		s.vars["DATABASE_URL"], s.vars["POSTGRES_URL"] = b.URL(), p.URL()
	}
	return nil
}

func (s *set) close() error {
	var err error
	for _, c := range slices.Backward(s.closers) {
		err = errors.Join(err, c.Close())
	}
	return err
}

func (s *set) names() []string {
	var names []string
	for name := range s.vars {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// runProgram runs the program with the servers' addresses, and passes on the signals that reach us alone.
func (s *set) runProgram(program []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.Command(program[0], program[1:]...) //nolint:gosec,noctx // what the user asked for
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = os.Environ() //nolint:forbidigo // the program's environment is ours and the addresses
	for _, name := range s.names() {
		cmd.Env = append(cmd.Env, name+"="+s.vars[name])
	}
	if err := cmd.Start(); err != nil {
		return 127, fmt.Errorf("devservices: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			if sig != os.Interrupt {
				_ = cmd.Process.Signal(sig)
			}
		case err := <-ended:
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				return exitStatus(exit), nil
			}
			if err != nil {
				return 1, fmt.Errorf("devservices: %w", err)
			}
			return 0, nil
		}
	}
}

// exitStatus is the program's, or what a shell would say of one that a signal ended.
func exitStatus(e *exec.ExitError) int {
	if w, ok := e.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return e.ExitCode()
}
