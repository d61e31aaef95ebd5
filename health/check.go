package health

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"
)

// historyLength is how many runs are remembered: five minutes of them at the
// default interval.
const historyLength = 60

// check is a check and its results.
type check struct {
	name   string
	f      func(context.Context) error
	opts   checkOptions
	owner  *Checker
	first  chan struct{} // closed after the first result
	flight chan struct{} // has one token: whoever holds it may run f

	// Guarded by the owner's mu.
	result    result
	succeeded bool // at least once
	streak    int  // of runs in a row that ended as the last one
	goodRuns  int  // in a row
	history   []Sample
}

// result is what is known since the last run.
type result struct {
	cause

	status   Status
	at       time.Time // when the run ended; zero before the first
	duration time.Duration
	since    time.Time // when the status became what it is
	details  any
	encoded  json.RawMessage // the details
	gauges   []Gauge
	advice   []string
}

// A Sample is one run of a check in its history.
type Sample struct {
	At       time.Time     `json:"at"`
	Status   Status        `json:"status"`
	Duration time.Duration `json:"duration_ns"`
}

func newCheck(owner *Checker, name string, f func(context.Context) error, opts []CheckOption) *check {
	if name == "" || strings.ContainsAny(name, "/,") {
		panic("health: Add needs a name without a slash or a comma, got " + strings.ToValidUTF8(name, "?"))
	}
	if _, ok := endpointOf(name); ok {
		panic("health: Add of a check with the name of an endpoint, " + name)
	}
	if f == nil {
		f = func(context.Context) error { return nil }
	}
	ch := &check{name: name, f: f, owner: owner, first: make(chan struct{}), flight: make(chan struct{}, 1)}
	ch.flight <- struct{}{}
	for _, opt := range opts {
		if opt != nil {
			opt(&ch.opts)
		}
	}
	ch.opts.fall, ch.opts.rise = max(ch.opts.fall, 1), max(ch.opts.rise, 1)
	if ch.opts.every <= 0 {
		ch.opts.every = owner.cfg.Interval
	}
	if ch.opts.timeout <= 0 {
		ch.opts.timeout = owner.cfg.Timeout
	}
	ch.result = result{since: time.Now()}
	ch.result.cause, ch.result.status = examine(errNoResult)
	return ch
}

// loop runs the check until ctx is done or, at start-up, it has passed.
func (ch *check) loop(ctx context.Context) {
	for {
		passed := ch.run(ctx) == Pass
		if passed && ch.opts.startup || ctx.Err() != nil {
			return
		}
		pause := ch.opts.every
		if !passed {
			pause = min(pause, ch.owner.cfg.FailingInterval)
		}
		pause += rand.N(pause/5+1) - pause/10 //nolint:gosec // jitter, no secret
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// refresh runs a check on demand if its result is too old, or waits for the run
// that is under way.
func (ch *check) refresh(ctx context.Context) {
	ch.owner.mu.Lock()
	fresh := !ch.result.at.IsZero() && time.Since(ch.result.at) < ch.opts.onDemand
	ch.owner.mu.Unlock()
	if fresh {
		return
	}
	// The run must not end with the one who asked: others wait for it as well.
	done := make(chan struct{})
	go func() {
		defer close(done)
		ch.run(context.WithoutCancel(ctx))
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// run calls f, within the time limit, and records the result. It does not call
// it while an earlier call is still at work, but waits for that one's result as
// long. It returns the status of the check after it.
func (ch *check) run(ctx context.Context) Status {
	before := time.Now()
	limit := time.NewTimer(ch.opts.timeout)
	defer limit.Stop()
	select {
	case <-ch.flight:
	case <-limit.C:
		return ch.record(errTimeout, time.Since(before))
	case <-ctx.Done():
		return Fail
	}
	if ch.opts.onDemand > 0 && ch.finishedAfter(before) { // somebody else has run it while we waited
		ch.flight <- struct{}{}
		return Pass
	}
	began := time.Now()
	err, returned := ch.call(ctx)
	if returned {
		// Only after the result is recorded may the next one run, who looks whether
		// he still has to.
		defer func() { ch.flight <- struct{}{} }()
	}
	if ctx.Err() != nil {
		return Fail // stopped, which says nothing about the dependency
	}
	return ch.record(err, time.Since(began))
}

// call calls f with its time limit. If f ignores that, call does not wait for
// it; then it is f's goroutine that gives the token of the flight back.
func (ch *check) call(ctx context.Context) (err error, returned bool) {
	ctx, cancel := context.WithTimeout(ctx, ch.opts.timeout)
	var left atomic.Bool // by one of the two: the other does the rest
	done := make(chan error, 1)
	go func() {
		err := fmt.Errorf("%w: it called runtime.Goexit", errPanicked)
		defer func() { // a Goexit comes back no other way
			done <- err
			cancel()
			if !left.CompareAndSwap(false, true) {
				ch.flight <- struct{}{}
			}
		}()
		err = ch.protect(ctx)
	}()
	select {
	case err = <-done:
		return err, true
	case <-ctx.Done():
	}
	// A check that heeds its context returns now, with an error that says more
	// than ours.
	patience := time.NewTimer(ch.opts.timeout / 20)
	defer patience.Stop()
	select {
	case err = <-done:
		return err, true
	case <-patience.C:
	}
	if left.CompareAndSwap(false, true) {
		return errTimeout, false
	}
	return <-done, true
}

func (ch *check) finishedAfter(t time.Time) bool {
	ch.owner.mu.Lock()
	defer ch.owner.mu.Unlock()
	return ch.result.at.After(t)
}

// protect calls f and turns a panic into an error.
func (ch *check) protect(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicError(v)
			ch.logPanic("check", v)
		}
	}()
	return ch.f(ctx)
}

// caught keeps a panic of the host's code from ending the process. It is
// deferred.
func (ch *check) caught(where string) {
	if v := recover(); v != nil {
		ch.logPanic(where, v)
	}
}

func (ch *check) logPanic(where string, v any) {
	ch.owner.opts.logger.Error("health check panicked", "check", ch.name, "in", where, "panic", v, "stack", string(debug.Stack()))
}

// record takes a run's outcome over into the result, by the thresholds, and
// makes a new snapshot.
func (ch *check) record(err error, took time.Duration) Status {
	now := time.Now()
	why, outcome := ch.examine(err)
	if outcome == Fail && ch.opts.optional {
		outcome = Warn
	}
	next := result{cause: why, at: now, duration: took}
	ch.collect(&next)

	ch.owner.mu.Lock()
	previous := ch.result
	next.status, next.since = ch.decide(previous.status, outcome), previous.since
	if next.status != previous.status || previous.at.IsZero() {
		next.since = now
	}
	next.gauges = withRates(next.gauges, previous.gauges, now.Sub(previous.at))
	ch.result = next
	ch.history = append(ch.history, Sample{At: now, Status: outcome, Duration: took})
	if len(ch.history) > historyLength {
		ch.history = append(ch.history[:0:0], ch.history[1:]...) // snapshots share the old one
	}
	ch.owner.rebuildLocked()
	ch.owner.mu.Unlock()

	if previous.at.IsZero() {
		close(ch.first)
	}
	ch.report(previous, next)
	return next.status
}

// decide applies the thresholds. The caller holds the owner's mu.
func (ch *check) decide(status, outcome Status) Status {
	good := outcome != Fail && (outcome != Warn || !ch.opts.optional)
	if len(ch.history) > 0 && ch.history[len(ch.history)-1].Status == outcome {
		ch.streak++
	} else {
		ch.streak = 1
	}
	ch.goodRuns++
	if !good {
		ch.goodRuns = 0
	}
	switch {
	case !ch.succeeded:
		ch.succeeded = good
		return outcome
	case good && severity(status) > severity(outcome) && ch.streak < ch.opts.rise:
		if status == Fail && ch.goodRuns >= ch.opts.rise { // some passed, some warned
			return Warn
		}
		return status
	case !good && ch.streak < ch.opts.fall:
		return status
	default:
		return outcome
	}
}

// report logs a change and tells the observers of the run.
func (ch *check) report(from, to result) {
	opts := &ch.owner.opts
	if from.status != to.status || from.at.IsZero() {
		level := map[Status]slog.Level{Pass: slog.LevelInfo, Warn: slog.LevelWarn, Fail: slog.LevelError}[to.status]
		attrs := []slog.Attr{slog.String("check", ch.name), slog.String("from", string(from.status)), slog.String("to", string(to.status)), slog.Duration("duration", to.duration)}
		if to.err != nil {
			attrs = append(attrs, slog.Any("error", to.err))
		}
		opts.logger.LogAttrs(context.Background(), level, "health changed", attrs...)
	}
	for _, f := range opts.observers {
		ch.tell(f, Event{Check: ch.name, From: from.status, To: to.status, Duration: to.duration, Err: to.err})
	}
}

func (ch *check) tell(observer func(Event), e Event) {
	defer ch.caught("observer")
	observer(e)
}
