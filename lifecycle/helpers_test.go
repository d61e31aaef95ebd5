package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pedro-go/pedro/lifecycle"
)

var errBoom = errors.New("boom")

// journal records what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, " ")
}

func (j *journal) index(line string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Index(j.lines, line)
}

// component returns one that writes "+name" and "-name".
func (j *journal) component(name string) lifecycle.Funcs {
	return lifecycle.Funcs{
		OnStart: func(context.Context) error { j.add("+" + name); return nil },
		OnStop:  func(context.Context) error { j.add("-" + name); return nil },
	}
}

func newGroup(tb testing.TB, cfg lifecycle.Config, opts ...lifecycle.Option) *lifecycle.Group {
	tb.Helper()
	g, err := lifecycle.New(cfg, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// componentError returns the error of that component and phase, or fails.
func componentError(t *testing.T, err error, name string, phase lifecycle.Phase) error {
	t.Helper()
	for _, e := range flatten(err) {
		if ce, ok := e.(*lifecycle.ComponentError); ok && ce.Name == name && ce.Phase == phase { //nolint:errorlint // flatten has unwrapped it
			return ce.Err
		}
	}
	t.Fatalf("got error %v, want one of component %s in phase %s", err, name, phase)
	return nil
}

// flatten takes joins apart, down to the ComponentErrors.
func flatten(err error) []error {
	if join, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range join.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
