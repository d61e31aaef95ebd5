// Command pedro looks at a service's surroundings before the service does:
//
//	go run github.com/pedro-go/pedro/cmd/pedro doctor
//
// doctor reads the environment as pgpool, rediscache and session would, connects, and reports what is set, what is
// wrong and what to change, each with its variable. It shows no secret, writes nothing to the servers, and needs no
// more connections than three to PostgreSQL and a few to Redis.
//
//	-instances N   how many instances of the service share the servers (default 1)
//	-timeout D     limit of the whole examination (default 15s)
//	-json          the report as JSON
//
// It exits with 0 if all is well, with 1 if there are problems, and with 2 if it was called wrongly. Notes are no
// problems: things to know, which may be as they should be.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const usage = `usage: pedro doctor [-instances N] [-timeout D] [-json]

doctor reads the environment of a service, connects, and reports what is set, what is wrong and what to change.

`

func main() {
	redis.SetLogger(silence{}) // what it says is in the report
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status) //nolint:forbidigo // a program, not a library
}

// silence is go-redis's logger, which writes to stderr otherwise.
type silence struct{}

// Printf implements the interface of redis.SetLogger.
func (silence) Printf(context.Context, string, ...any) {}

// run returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("pedro doctor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.instances, "instances", 1, "how many instances of the service share the servers")
	flags.DurationVar(&o.timeout, "timeout", 15*time.Second, "limit of the whole examination")
	asJSON := flags.Bool("json", false, "the report as JSON")
	flags.Usage = func() {
		_, _ = fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	switch {
	case len(args) == 0 || args[0] != "doctor" && args[0] != "help" && args[0] != "-h" && args[0] != "--help":
		flags.Usage()
		return 2
	case args[0] != "doctor":
		flags.Usage()
		return 0
	}
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if problem := o.check(flags.Args()); problem != "" {
		_, _ = fmt.Fprintf(stderr, "pedro doctor: %s\n\n", problem)
		flags.Usage()
		return 2
	}

	r := examine(ctx, o, newProgress(stderr))
	write := r.writeText
	if *asJSON {
		write = r.writeJSON
	}
	if err := write(stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, "pedro doctor:", err)
		return 1
	}
	if r.problems() > 0 {
		return 1
	}
	return 0
}

// options are what the command line says.
type options struct {
	instances int
	timeout   time.Duration
}

func (o options) check(rest []string) string {
	switch {
	case len(rest) > 0:
		return fmt.Sprintf("%q is not understood", rest[0])
	case o.instances < 1:
		return "-instances must be 1 or more"
	case o.timeout <= 0:
		return "-timeout must be longer than nothing"
	default:
		return ""
	}
}
