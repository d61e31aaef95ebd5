package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// grace is how long a call may take to notice that its context has ended,
// before it counts as hung.
const grace = 100 * time.Millisecond

// The labels of a component's goroutines, which tell them from all others in a
// profile. Goroutines that they start inherit them.
const (
	labelComponent = "lifecycle_component"
	labelGroup     = "lifecycle_group"
)

var groups atomic.Int64 // numbers the groups of the process, for their labels

// labels returns a context that carries a component's labels.
func labels(group int64, component string) context.Context {
	return pprof.WithLabels(context.Background(), pprof.Labels(labelComponent, component, labelGroup, strconv.FormatInt(group, 10)))
}

var errHung = errors.New("lifecycle: hung")

// call runs f on a labelled goroutine and returns its error. A panic becomes a
// *PanicError. If f ignores the end of ctx, it is left behind and the error is
// a *HungError.
func call(labelled context.Context, ctx *limited, f func(context.Context) error) error {
	started := time.Now()
	c := &watched{end: ctx.until.Add(grace), done: make(chan error, 2)} // two: both may have something to say
	ctx.dog.add(c)
	go func() {
		pprof.SetGoroutineLabels(labelled)
		err := errGoexit
		defer func() { c.done <- err }() // deferred, because Goexit comes back no other way
		err = protect(func() error { return f(ctx) })
	}()
	err := <-c.done
	ctx.dog.remove(c)
	if err == errHung { //nolint:errorlint // it is ours, and comes unwrapped
		return &HungError{After: time.Since(started), Cause: context.Cause(ctx), Stacks: stacks(labelled)}
	}
	return err
}

// protect calls f and turns a panic into an error.
func protect(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

// stacks returns the goroutine profile's entries that carry the labels.
func stacks(labelled context.Context) string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return err.Error()
	}
	component, _ := pprof.Label(labelled, labelComponent)
	group, _ := pprof.Label(labelled, labelGroup)
	var own []string
	for entry := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(entry, strconv.Quote(labelComponent)+":"+strconv.Quote(component)) &&
			strings.Contains(entry, strconv.Quote(labelGroup)+":"+strconv.Quote(group)) {
			own = append(own, entry)
		}
	}
	return strings.Join(own, "\n\n")
}
