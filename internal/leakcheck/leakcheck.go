// Package leakcheck fails a test run that leaves goroutines behind.
package leakcheck

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long a goroutine may take to end after the last test. A
// go-redis client that has met an outage sleeps up to a second after Close.
const patience = 5 * time.Second

// Main runs the tests of a package and exits, with a failure if goroutines are
// left that were not there before. Call it from TestMain. Shared servers that
// a package keeps for the whole run are given back by the functions in
// cleanup, which run before the check.
func Main(m *testing.M, cleanup ...func()) {
	before := stacks()
	code := m.Run()
	for _, f := range cleanup {
		f()
	}
	if code == 0 {
		if left := wait(before); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "leakcheck: %d goroutines left:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
			code = 1
		}
	}
	os.Exit(code) //nolint:forbidigo // what TestMain does
}

// wait returns the goroutines that outlive patience.
func wait(before map[string]string) []string {
	deadline := time.Now().Add(patience)
	for {
		var left []string
		for id, stack := range stacks() {
			if _, ok := before[id]; !ok && !expected(stack) {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// expected reports whether a goroutine belongs to the runtime or to a part of
// the standard library that keeps one for the process.
func expected(stack string) bool {
	for _, known := range []string{
		"leakcheck.stacks",
		"os/signal.signal_recv",
		"os/signal.loop",
		"testing.(*M).startAlarm",
		"runtime.ensureSigM",
		"devservices.forker", // forks every child from one locked thread, for the life of the process
	} {
		if strings.Contains(stack, known) {
			return true
		}
	}
	return false
}

// stacks returns the stacks of all goroutines by their header's number.
func stacks() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := map[string]string{}
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		id, _, _ := strings.Cut(stack, " [")
		all[id] = stack
	}
	return all
}
