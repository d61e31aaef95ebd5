package health

import (
	"cmp"
	"errors"
	"time"

	"github.com/pedro-go/pedro/internal/env"
)

// ErrInvalidConfig is wrapped by every error of [New].
var ErrInvalidConfig = errors.New("health: invalid config")

// Defaults of [Config].
const (
	DefaultInterval        = 5 * time.Second
	DefaultFailingInterval = time.Second
	DefaultTimeout         = 800 * time.Millisecond
)

// Config holds the settings of a [Checker]. A zero field means its default, so
// Config{} is ready to use.
type Config struct {
	// Name and Version of the service are shown on the page and in
	// application/health+json, to those who may see everything. The default is
	// none.
	Name, Version string

	// Interval is the time between two runs of a check, give or take a tenth, so
	// that the replicas of a service do not run theirs at once. It must be
	// positive.
	// The default is 5 seconds.
	Interval time.Duration

	// FailingInterval is the interval while a check does not pass, so that a
	// recovery is seen soon. One that is longer than Interval is not used.
	// The default is 1 second.
	FailingInterval time.Duration

	// Timeout bounds a run of a check. It should be below the timeout of those
	// who ask: the kubelet's is 1 second unless set (timeoutSeconds).
	// The default is 800 milliseconds.
	Timeout time.Duration
}

func (c Config) withDefaults() Config {
	c.Interval = cmp.Or(c.Interval, DefaultInterval)
	c.FailingInterval = cmp.Or(c.FailingInterval, DefaultFailingInterval)
	if c.Interval > 0 {
		c.FailingInterval = min(c.FailingInterval, c.Interval)
	}
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	return c
}

// validate wants the effective settings.
func (c Config) validate() error {
	var p env.Problems
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Interval", c.Interval}, {"FailingInterval", c.FailingInterval}, {"Timeout", c.Timeout}} {
		if d.value < 0 {
			p.Add("Config."+d.name, "is negative; use a positive duration, or 0 for the default")
		}
	}
	return p.Err(ErrInvalidConfig)
}
