package lifecycle

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// A Group starts components in order and stops them in the opposite order.
// Make one with [New]. A Group runs once.
type Group struct {
	cfg  Config
	opts options
	id   int64 // among the groups of the process

	members []*member // complete before Start, then only read
	stateMu sync.Mutex

	announced State // guarded by stateMu

	mu        sync.Mutex // guards what follows, and the reports of the members
	state     State
	deps      [][]int
	stopStart context.CancelCauseFunc // set while Starting: what Stop cuts the start short with
	startDone chan struct{}           // closed when Start is over
	drained   time.Time               // when Drain was called, zero before
	stopDone  chan struct{}           // made by the first stop, closed when it is over
	force     context.CancelCauseFunc // ends the context of the stop under way
	forced    bool

	quit    chan struct{} // closed when the group begins to stop
	failed  chan error    // the first failure of a running component, for Run
	failure []error       // all of them, guarded by mu
}

// member is a component and all that the group knows of it.
type member struct {
	name     string
	c        Component
	opts     addOptions
	labelled context.Context // carries the labels of its goroutines

	begun  bool          // Start was called; written by Start, read by Stop after it
	late   chan struct{} // closed when the background start of an optional component is over; nil without one
	report Report        // guarded by the group's mu

	watched chan struct{} // closed when nobody waits on failed any more; nil if nobody did
	failed  <-chan error  // the channel of a Failer; set before watched is closed
}

// New returns an empty Group. Its error wraps [ErrInvalidConfig].
func New(cfg Config, opts ...Option) (*Group, error) {
	o := options{logger: slog.Default()}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	cfg = cfg.withDefaults()
	if err := cfg.validate(o); err != nil {
		return nil, err
	}
	if o.systemd != nil {
		o.systemd.logger = o.logger
	}
	return &Group{
		cfg: cfg, opts: o, id: groups.Add(1),
		startDone: make(chan struct{}),
		quit:      make(chan struct{}),
		failed:    make(chan error, 1),
	}, nil
}

// Config returns the effective settings.
func (g *Group) Config() Config { return g.cfg }

// Add adds a component. Its name appears in logs, events and errors.
//
// Add panics if the name is empty or taken, if c is nil, or if the group was
// started: each is a mistake in the host's wiring.
func (g *Group) Add(name string, c Component, opts ...AddOption) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case name == "":
		panic("lifecycle: Add without a name")
	case c == nil:
		panic("lifecycle: Add of a nil component as " + name)
	case g.state != StateNew:
		panic("lifecycle: Add of " + name + " after Start")
	case slices.ContainsFunc(g.members, func(m *member) bool { return m.name == name }):
		panic("lifecycle: Add of a second " + name)
	}
	m := &member{name: name, c: c, labelled: labels(g.id, name)}
	for _, opt := range opts {
		if opt != nil {
			opt(&m.opts)
		}
	}
	m.report = Report{Name: name, Optional: m.opts.optional}
	g.members = append(g.members, m)
}

// State returns where the group is in its life.
func (g *Group) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

// Failed implements [Failer], so that the failure of a component in a nested
// group reaches the outer one.
func (g *Group) Failed() <-chan error { return g.failed }

// setState moves on and tells those who want to know.
func (g *Group) setState(s State) {
	g.mu.Lock()
	g.state = s
	g.mu.Unlock()
	g.announce(s)
}

// announce calls the hooks of OnState, one state after the other.
func (g *Group) announce(s State) {
	g.stateMu.Lock()
	defer g.stateMu.Unlock()
	if s < g.announced {
		return // a later one was quicker
	}
	g.announced = s
	g.opts.logger.Info("group changed", "state", s.String(), "components", len(g.members))
	for _, f := range g.opts.onState {
		f(s)
	}
	g.opts.systemd.announce(s, g.cfg)
}

// update changes a member's report.
func (g *Group) update(m *member, change func(*Report)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&m.report)
}

// observe logs a finished step and passes it to the observers.
func (g *Group) observe(e Event) {
	level := slog.LevelInfo
	if e.Err != nil {
		level = slog.LevelError
	}
	if g.opts.logger.Enabled(context.Background(), level) {
		g.log(level, e)
	}
	for _, f := range g.opts.observers {
		f(e)
	}
}

func (g *Group) log(level slog.Level, e Event) {
	attrs := []slog.Attr{slog.String("component", e.Component), slog.String("phase", e.Phase.String()), slog.Duration("duration", e.Duration)}
	if e.Attempt > 0 {
		attrs = append(attrs, slog.Int("attempt", e.Attempt))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err), errorDetails(e.Err))
	}
	ctx := context.Background()
	switch {
	case e.Err != nil:
		g.opts.logger.LogAttrs(ctx, level, "component failed", attrs...)
	case e.Phase == PhaseStop:
		g.opts.logger.LogAttrs(ctx, level, "component stopped", attrs...)
	default:
		g.opts.logger.LogAttrs(ctx, level, "component started", attrs...)
	}
}
