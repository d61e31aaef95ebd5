package lifecycle

import (
	"cmp"
	"math"
	"time"

	"github.com/pedro-go/pedro/internal/env"
)

// Defaults of [Config].
const (
	DefaultStartTimeout = 30 * time.Second
	DefaultStopTimeout  = 10 * time.Second
	DefaultStopBudget   = 25 * time.Second
)

// Config holds the times of a [Group]. A zero field means its default, so
// Config{} is ready to use. It is plain data: what needs code is an [Option].
type Config struct {
	// StartTimeout bounds the Start of each component, retries included, unless
	// the component has a limit of its own. Negative means no limit.
	// The default is 30 seconds.
	StartTimeout time.Duration

	// StopTimeout bounds the Stop of each component, within the budget, unless
	// the component has a limit of its own. Negative means no limit but the
	// budget.
	// The default is 10 seconds.
	StopTimeout time.Duration

	// StopBudget bounds the stop as a whole, drain delay included. It should be
	// shorter than the time between SIGTERM and SIGKILL: 30 seconds on
	// Kubernetes (terminationGracePeriodSeconds), 90 with systemd
	// (TimeoutStopSec), unless set. Negative means no limit.
	// The default is 25 seconds.
	StopBudget time.Duration
}

func (c Config) withDefaults() Config {
	c.StartTimeout = cmp.Or(c.StartTimeout, DefaultStartTimeout)
	c.StopTimeout = cmp.Or(c.StopTimeout, DefaultStopTimeout)
	c.StopBudget = cmp.Or(c.StopBudget, DefaultStopBudget)
	return c
}

// validate wants the effective settings.
func (c Config) validate(o options) error {
	var p env.Problems
	if o.drainDelay < 0 {
		p.Add("WithDrain", "the delay is negative; use 0 for none")
	}
	if c.StopBudget > 0 && o.drainDelay >= c.StopBudget {
		p.Add("WithDrain", "the delay of %v leaves nothing of Config.StopBudget, %v; make the budget longer", o.drainDelay, c.StopBudget)
	}
	return p.Err(ErrInvalidConfig)
}

// limit makes a negative time limit one that never comes.
func limit(d time.Duration) time.Duration {
	if d < 0 {
		return math.MaxInt64
	}
	return d
}
