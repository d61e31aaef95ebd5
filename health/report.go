package health

import (
	"encoding/json"
	"slices"
	"time"
)

// A Report is all that a [Checker] knows at one time. It is shared: do not
// change what it refers to.
type Report struct {
	Status  Status // the worst of the checks; fail if the service is not alive
	Phase   Phase
	Live    bool
	Ready   bool
	Started bool // all checks of start-up have passed
	Name    string
	Version string
	Uptime  time.Duration
	At      time.Time // when the last check ended
	Checks  []CheckReport
	Advice  []string
}

// A CheckReport is what is known of one check. It is shared: do not change what
// it refers to.
type CheckReport struct {
	Name     string
	Status   Status
	Optional bool
	Err      error     // what keeps it from passing
	Class    string    // the kind of Err, fit for the public
	Since    time.Time // when the status became what it is
	At       time.Time // when the last run ended; zero before the first
	Duration time.Duration
	P50, P99 time.Duration // of the runs in History
	History  []Sample      // oldest first
	Details  any
	Gauges   []Gauge
	Advice   []string

	text    string          // of Err
	encoded json.RawMessage // Details
}

// quantiles returns the median and the 99th percentile of the durations.
func quantiles(history []Sample) (p50, p99 time.Duration) {
	if len(history) == 0 {
		return 0, 0
	}
	all := make([]time.Duration, len(history))
	for i, s := range history {
		all[i] = s.Duration
	}
	slices.Sort(all)
	return all[(len(all)-1)/2], all[(len(all)-1)*99/100]
}

// passed returns how many of the runs in the history passed.
func (r CheckReport) passed() int {
	n := 0
	for _, s := range r.History {
		if s.Status == Pass {
			n++
		}
	}
	return n
}
