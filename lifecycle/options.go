package lifecycle

import (
	"context"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/pedro-go/pedro/internal/backoff"
)

// An Option sets a dependency or a hook of a [Group].
type Option func(*options)

type options struct {
	logger       *slog.Logger
	observers    []func(Event)
	onState      []func(State)
	drainDelay   time.Duration
	drainBegin   []func()
	signals      []os.Signal
	signalSource <-chan os.Signal
	reload       []func(context.Context) error
	systemd      *systemd
	kubernetes   *Kubernetes
}

// WithLogger sets the logger. Transitions are logged at Info with their
// duration, failures at Error. nil keeps the default, slog.Default.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithObserver adds a function that is called after each step of a component.
// It is where metrics attach. It may be called from several goroutines at once,
// must not block and must not call the group. nil does nothing.
func WithObserver(f func(Event)) Option {
	return func(o *options) {
		if f != nil {
			o.observers = append(o.observers, f)
		}
	}
}

// OnState adds a function that is called with each new state of the group, one
// after the other. It is how the state drives a health check, without either
// package knowing the other. It must not block and must not call the group. nil
// does nothing.
func OnState(f func(State)) Option {
	return func(o *options) {
		if f != nil {
			o.onState = append(o.onState, f)
		}
	}
}

// WithDrain makes a running group drain before it stops: begin is called, which
// should turn readiness off, every [Drainer] is told, and for delay everything
// goes on serving, so that balancers can learn about it. The delay counts
// against Config.StopBudget.
//
// A repeated WithDrain replaces the delay and adds another begin. nil is no
// function. Without WithDrain the delay is 0.
func WithDrain(delay time.Duration, begin func()) Option {
	return func(o *options) {
		o.drainDelay = delay
		if begin != nil {
			o.drainBegin = append(o.drainBegin, begin)
		}
	}
}

// WithSignals makes [Group.Run] listen for signals: the first begins the
// graceful stop, the second forces it. They are registered before Start, so
// that none is lost. Without arguments they are SIGINT and SIGTERM. A repeat
// replaces them.
//
// With WithSignals and [OnReload], SIGHUP calls the reload hooks.
func WithSignals(sig ...os.Signal) Option {
	if len(sig) == 0 {
		sig = []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	}
	return func(o *options) { o.signals = sig }
}

// WithSignalSource makes [Group.Run] take its signals from c instead of from
// the operating system: from a host that has registered them already, or from a
// test. SIGHUP on it means reload, also where no [OnReload] gives it something
// to do; anything else means stop. nil does nothing.
func WithSignalSource(c <-chan os.Signal) Option {
	return func(o *options) { o.signalSource = c }
}

// OnReload adds a function that is called at SIGHUP, while the group runs; see
// [WithSignals]. The hooks are called in order, never two at once; a SIGHUP that
// arrives meanwhile, or while the group starts, is served afterwards. An error
// is logged. The context ends when the group begins to stop. nil does nothing.
func OnReload(f func(ctx context.Context) error) Option {
	return func(o *options) {
		if f != nil {
			o.reload = append(o.reload, f)
		}
	}
}

// An AddOption is a setting of one component.
type AddOption func(*addOptions)

type addOptions struct {
	after        []string // nil: all that were added before
	optional     bool
	startTimeout time.Duration // 0: that of the group
	stopTimeout  time.Duration
	retry        *backoff.Policy
}

// After makes the component start when the named components have started, and
// stop before they stop, and be independent of all others. The names may belong
// to components that are added later. Without names the component is
// independent of all. A repeat adds names.
func After(names ...string) AddOption {
	return func(o *addOptions) {
		if o.after == nil {
			o.after = []string{}
		}
		o.after = append(o.after, names...)
	}
}

// Optional lets the group run without the component. If its first Start fails,
// the failure is logged, those after it start all the same, and Start is tried
// again in the background, see [Retry], until it succeeds or the group stops. A
// Start that hangs or panics is not tried again: the component has failed then.
// If an optional component or task ends by itself, the group goes on.
func Optional() AddOption {
	return func(o *addOptions) { o.optional = true }
}

// StartTimeout bounds the component's Start, retries included; of an optional
// component each attempt. Zero keeps Config.StartTimeout, negative means no
// limit.
func StartTimeout(d time.Duration) AddOption {
	return func(o *addOptions) { o.startTimeout = d }
}

// StopTimeout bounds the component's Stop, within Config.StopBudget. Zero keeps
// Config.StopTimeout, negative means no limit but the budget.
func StopTimeout(d time.Duration) AddOption {
	return func(o *addOptions) { o.stopTimeout = d }
}

// Defaults of [Retry].
const (
	DefaultRetryMin = 250 * time.Millisecond
	DefaultRetryMax = 15 * time.Second
)

// Retry makes a failed Start be tried again, after a pause that grows
// exponentially from min to max, with jitter, until the start limit is over.
// The component must allow a Start after one that failed. For a task it is the
// restart policy: run is called again after it failed or panicked, without a
// limit on the number, and the pause is min again once it has run for max; a
// task that returns nil is not restarted.
//
// Zero or less means 250 milliseconds for min and 15 seconds for max. Without
// Retry a Start is called once, unless the component is optional, and a task is
// not restarted. A Start that panics, or ignores the end of its context, is not
// retried.
func Retry(minPause, maxPause time.Duration) AddOption {
	if minPause <= 0 {
		minPause = DefaultRetryMin
	}
	if maxPause <= 0 {
		maxPause = DefaultRetryMax
	}
	return func(o *addOptions) { o.retry = &backoff.Policy{Min: minPause, Max: max(minPause, maxPause)} }
}
