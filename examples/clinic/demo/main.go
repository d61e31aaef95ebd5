// Command demo walks through the library's main job on real servers and two
// instances of the clinic, and prints what it measured. It exits with 0 only if
// every step held.
//
//	make demo
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, fmt.Errorf("the demonstration takes too long"))
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "\n  ✗ %v\n", err)
		cancel()
		os.Exit(1) //nolint:gocritic // what was deferred is done
	}
}

func run(ctx context.Context) (err error) {
	began := time.Now()
	d := &demo{}
	defer d.close()
	for _, step := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"start PostgreSQL and Redis", d.startServers},
		{"build the clinic", d.build},
		{"start instances A and B", d.startInstances},
		{"log in on A, be logged in on B", d.login},
		{"read a patient: cache miss, then hit", d.cache},
		{"import 10,000 patients", d.importPatients},
		{"book one slot, 50 at once", d.book},
		{"kill Redis: still logged in", d.killRedis},
		{"bring Redis back: nothing lost", d.restartRedis},
		{"restart A under load", d.restartInstance},
		{"ask for its health", d.health},
		{"stop both", d.stop},
	} {
		start := time.Now()
		show("  … %s", step.name)
		said, err := step.do(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		show("")
		fmt.Printf("  ✓ %-38s %9s  %s\n", step.name, round(time.Since(start)), said)
	}
	fmt.Printf("\n  All of it held, in %s.\n", round(time.Since(began)))
	return nil
}

// show writes a line that the next one replaces, if somebody is watching.
func show(format string, args ...any) {
	if info, err := os.Stdout.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Printf("\r\033[K"+format, args...)
	}
}

func round(d time.Duration) time.Duration {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond)
	case d < time.Second:
		return d.Round(100 * time.Microsecond)
	default:
		return d.Round(10 * time.Millisecond)
	}
}
