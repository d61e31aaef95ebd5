package health

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Checker runs checks in the background and knows their last results. Make
// one with [New].
type Checker struct {
	cfg   Config
	opts  options
	began time.Time

	current atomic.Pointer[snapshot] // what requests read

	mu       sync.Mutex // guards what follows, and the results of the checks
	checks   []*check   // sorted by name
	beats    []*heartbeat
	phase    Phase
	notReady bool
	running  context.Context // the context of the background, nil when not started
	stop     context.CancelFunc
	loops    sync.WaitGroup
	stopped  bool
}

// New returns a Checker without checks. It starts nothing. Its error wraps
// [ErrInvalidConfig].
func New(cfg Config, opts ...Option) (*Checker, error) {
	o := options{logger: slog.Default()}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Checker{cfg: cfg, opts: o, began: time.Now(), phase: Running}
	c.rebuild()
	return c, nil
}

// Config returns the effective settings.
func (c *Checker) Config() Config { return c.cfg }

// Add adds a check: a function that returns nil if all is well. Its context has
// the check's time limit, and nothing to do with a request. name is shown, also
// to the public, and stands in URLs. The check is required unless it is
// [Optional]. It may be added at any time; after Start it begins at once.
//
// A nil check always passes: it carries [Details], [Gauges] and [Advise] of
// something that cannot fail. Add panics if the name is empty or taken, has a
// slash or a comma, or is that of an endpoint (live, ready, startup, detailed),
// which its URL would mean: a mistake in the host's wiring.
func (c *Checker) Add(name string, f func(context.Context) error, opts ...CheckOption) {
	ch := newCheck(c, name, f, opts)
	c.mu.Lock()
	defer c.mu.Unlock()
	i, taken := slices.BinarySearchFunc(c.checks, name, func(ch *check, name string) int { return compare(ch.name, name) })
	if taken {
		panic("health: Add of a second " + name)
	}
	c.checks = slices.Insert(c.checks, i, ch)
	if c.running != nil && !c.stopped {
		c.runInBackground(ch)
	}
	c.rebuildLocked()
}

// SetReady says whether the service wants requests. It is ready by default; the
// checks and the phase must agree in any case.
func (c *Checker) SetReady(ready bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notReady = !ready
	c.rebuildLocked()
}

// SetDraining says that the service is about to stop: /ready is 503 from now
// on, while /live stays 200, since a process that drains must not be killed. It
// is what lifecycle.WithDrain calls.
func (c *Checker) SetDraining() { c.SetPhase(Draining) }

// SetPhase says where the service is in its life. The default is [Running]; in
// any other phase it is not ready. A lifecycle.Group drives it with
//
//	lifecycle.OnState(func(s lifecycle.State) { checks.SetPhase(health.Phase(s.String())) })
func (c *Checker) SetPhase(p Phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = p
	c.rebuildLocked()
}

// Start begins to run the checks and returns when each has a first result,
// good or bad, which takes no longer than the longest time limit, or when ctx
// is done. Its error is only ever the context's: a failing check is no reason
// not to start.
func (c *Checker) Start(ctx context.Context) error {
	c.mu.Lock()
	if c.running != nil || c.stopped {
		c.mu.Unlock()
		return nil
	}
	c.running, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, ch := range c.checks {
		c.runInBackground(ch)
	}
	checks := slices.Clone(c.checks)
	c.mu.Unlock()
	for _, ch := range checks {
		if ch.opts.onDemand > 0 {
			continue
		}
		select {
		case <-ch.first:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// runInBackground begins a check's loop. The caller holds c.mu.
func (c *Checker) runInBackground(ch *check) {
	if ch.opts.onDemand > 0 {
		return
	}
	ctx := c.running
	c.loops.Go(func() { ch.loop(ctx) })
}

// Stop ends the background. The last results stay and become out of date. It
// waits for runs that are at work, until ctx is done; a second Stop does the
// same again.
func (c *Checker) Stop(ctx context.Context) error {
	c.mu.Lock()
	c.stopped = true
	if c.stop != nil {
		c.stop()
	}
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		c.loops.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Report returns what is known, everything included. Checks that run on demand
// are run if their result is too old, which ctx bounds; if it is done already,
// none is run.
func (c *Checker) Report(ctx context.Context) Report {
	c.demand(ctx, query{})
	return c.snapshot().report
}

// demand runs the checks on demand that a query's answer rests on and whose
// results are too old, and waits for them.
func (c *Checker) demand(ctx context.Context, q query) {
	if !c.snapshot().demand || q.endpoint == endpointLive || ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	checks := slices.Clone(c.checks)
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, ch := range checks {
		if ch.opts.onDemand > 0 && q.restsOn(ch.name, ch.opts.startup) {
			wg.Go(func() { ch.refresh(ctx) })
		}
	}
	wg.Wait()
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}
