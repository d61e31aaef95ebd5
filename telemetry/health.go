package telemetry

import (
	"context"

	"github.com/pedro-go/pedro/health"
)

func (t *Telemetry) watchChecks(c *health.Checker) error {
	i := t.instruments()
	status := i.gauge("pedro.health.status", "1", "State of each check: 1 for the current one, 0 for the others")
	took := i.level("pedro.health.check.duration", "s", "How long the last run of a check took")
	ready := i.gauge("pedro.health.ready", "1", "Whether the service wants requests: 1 or 0")
	live := i.gauge("pedro.health.live", "1", "Whether the process needs no restart: 1 or 0")
	return i.observed(func(o observer) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what is known is enough: a collection runs no check
		report := c.Report(ctx)
		for _, check := range report.Checks {
			name := keyCheck.String(check.Name)
			o.states(status, string(check.Status), []string{string(health.Pass), string(health.Warn), string(health.Fail)}, name)
			o.value(took, check.Duration.Seconds(), name)
		}
		o.number(ready, flag(report.Ready))
		o.number(live, flag(report.Live))
	})
}
