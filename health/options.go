package health

import (
	"log/slog"
	"time"
)

// An Option sets a dependency or a hook of a [Checker].
type Option func(*options)

type options struct {
	logger    *slog.Logger
	observers []func(Event)
}

// WithLogger sets the logger. Each change of a check's state is logged, to pass
// at Info, to warn at Warn and to fail at Error. nil keeps the default,
// slog.Default.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithObserver adds a function that is called after each run of a check. It is
// where metrics attach. It may be called from several goroutines at once and
// must not block. A panic in it is logged. nil does nothing.
func WithObserver(f func(Event)) Option {
	return func(o *options) {
		if f != nil {
			o.observers = append(o.observers, f)
		}
	}
}

// An Event describes one run of a check. See [WithObserver].
type Event struct {
	Check    string
	From, To Status // the state before and after; equal if nothing changed
	Duration time.Duration
	Err      error // what the check returned
}

// A CheckOption is a setting of one check.
type CheckOption func(*checkOptions)

type checkOptions struct {
	optional   bool
	startup    bool
	every      time.Duration
	timeout    time.Duration
	onDemand   time.Duration
	fall, rise int
	details    func() any
	gauges     func() []Gauge
	advise     func() []string
}

// Optional makes a failure of the check a warning, which does not keep the
// service from being ready.
func Optional() CheckOption { return func(o *checkOptions) { o.optional = true } }

// ForStartup makes the check one of start-up: it gates /startup and, until it
// has passed once, readiness. After that it is not run again.
func ForStartup() CheckOption { return func(o *checkOptions) { o.startup = true } }

// Every sets the interval of the check. Zero or less keeps Config.Interval.
func Every(d time.Duration) CheckOption { return func(o *checkOptions) { o.every = d } }

// Timeout sets the time limit of the check. Zero or less keeps Config.Timeout.
func Timeout(d time.Duration) CheckOption { return func(o *checkOptions) { o.timeout = d } }

// OnDemand runs the check when somebody asks for what rests on it, instead of in
// the background, and keeps the result for ttl. Requests that come meanwhile
// wait for the same run, at most for the check's time limit; /live and requests
// that leave the check out do not. It is for checks that cost something and whose
// result is seldom wanted. Zero or less keeps the background.
func OnDemand(ttl time.Duration) CheckOption { return func(o *checkOptions) { o.onDemand = ttl } }

// Thresholds makes the check fail only after fall failures in a row, and pass
// again only after rise successes in a row. Before its first success a check
// fails in any case. Less than 1 means 1, the default of both.
func Thresholds(fall, rise int) CheckOption {
	return func(o *checkOptions) { o.fall, o.rise = fall, rise }
}

// Details adds what f returns to /detailed, for those who may see everything:
// a struct of numbers such as pool.Stats(), as encoding/json has it. Fields with
// well-known names are drawn as gauges on the page: see [Gauges]. f is called
// after each run of the check, must not block, and must not return secrets. It
// returns a copy that nobody changes afterwards.
func Details(f func() any) CheckOption { return func(o *checkOptions) { o.details = f } }

// Gauges adds numbers to /detailed and bars to the page. f is called after each
// run of the check and must not block. What is no number (NaN) or infinite is
// left out.
//
// From [Details] these are made without being asked for: if there is a field
// MaxConns, a bar for AcquiredConns and the numbers TotalConns, IdleConns and
// Waiting; a bar for HitRatio, between 0 and 1; the durations P50, P95 and P99.
func Gauges(f func() []Gauge) CheckOption { return func(o *checkOptions) { o.gauges = f } }

// Advise adds hints to /detailed and the page, for those who may see
// everything: what is set badly, and which variable to change. f is called after
// each run of the check and must not block. A nil or empty result is no advice.
func Advise(f func() []string) CheckOption { return func(o *checkOptions) { o.advise = f } }
