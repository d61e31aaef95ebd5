package health

import (
	"time"
)

// snapshot is what requests read: made at each change, never changed itself.
type snapshot struct {
	report  Report
	at      time.Time             // when it was made
	expires time.Time             // when a result in it becomes out of date; zero for never
	demand  bool                  // there are checks on demand
	wanted  bool                  // the service wants requests, whatever its checks say
	beats   []*heartbeat          // shared, and append-only
	startup []bool                // which checks are of start-up, in the order of report.Checks
	ready   map[readyKey]response // the answers that most requests get
}

// snapshot returns the current one, after making a new one if a result has
// become out of date since.
func (c *Checker) snapshot() *snapshot {
	s := c.current.Load()
	if s.expires.IsZero() || time.Now().Before(s.expires) {
		return s
	}
	c.rebuild()
	return c.current.Load()
}

func (c *Checker) rebuild() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rebuildLocked()
}

func (c *Checker) rebuildLocked() {
	now := time.Now()
	s := &snapshot{
		at:     now,
		beats:  c.beats,
		wanted: c.phase == Running && !c.notReady,
		report: Report{
			Phase: c.phase, Live: true,
			Name: c.cfg.Name, Version: c.cfg.Version,
		},
	}
	for _, ch := range c.checks {
		s.add(ch, now)
	}
	s.report.Status, _ = s.decide(query{}, true)
	ready, _ := s.decide(query{endpoint: endpointReady}, true)
	started, _ := s.decide(query{endpoint: endpointStartup}, true)
	s.report.Ready, s.report.Started = ready != Fail, started != Fail
	if s.report.At.IsZero() {
		s.report.At = now
	}
	s.report.Uptime = now.Sub(c.began)
	s.render()
	c.current.Store(s)
}

// add enters a check's result.
func (s *snapshot) add(ch *check, now time.Time) {
	r := CheckReport{
		Name: ch.name, Status: ch.result.status, Optional: ch.opts.optional,
		Since: ch.result.since, At: ch.result.at, Duration: ch.result.duration, History: ch.history,
		Details: ch.result.details, encoded: ch.result.encoded, Gauges: ch.result.gauges, Advice: ch.result.advice,
	}
	why := ch.result.cause
	settled := ch.opts.startup && ch.succeeded // not run again, so its result stays
	switch {
	case ch.opts.onDemand > 0:
		s.demand = true
	case settled:
	case !r.At.IsZero():
		expires := r.At.Add(staleAfter(ch))
		if !now.Before(expires) {
			r.Status, why = worse(r.Status, Fail), stale
		} else if s.expires.IsZero() || expires.Before(s.expires) {
			s.expires = expires
		}
	}
	if r.Optional && r.Status == Fail {
		r.Status = Warn
	}
	r.Err, r.Class, r.text = why.err, why.class, why.text
	r.P50, r.P99 = quantiles(r.History)
	s.report.Checks = append(s.report.Checks, r)

	s.startup = append(s.startup, ch.opts.startup)
	if r.At.After(s.report.At) {
		s.report.At = r.At
	}
	s.report.Advice = append(s.report.Advice, r.Advice...)
}

// staleAfter is how long a result is believed: three intervals, and the time
// that a run may take.
func staleAfter(ch *check) time.Duration { return 3*ch.opts.every + ch.opts.timeout }

// decide returns the verdict that a query asks for, and the checks that it
// rests on.
func (s *snapshot) decide(q query, live bool) (Status, []CheckReport) {
	if q.endpoint == endpointLive {
		return passIf(live), nil
	}
	status := Pass
	var checks []CheckReport
	for i, r := range s.report.Checks {
		if !q.restsOn(r.Name, s.startup[i]) {
			continue
		}
		checks = append(checks, r)
		status = worse(status, r.Status)
	}
	switch {
	case q.check != "":
	case q.endpoint == endpointReady:
		// An optional check is never worse than warn, so what fails is required.
		status = worse(status, passIf(s.wanted))
	case q.endpoint == endpointBasic, q.endpoint == endpointDetailed:
		if !s.wanted {
			status = worse(status, Warn)
		}
		status = worse(status, passIf(live))
	}
	return status, checks
}

func passIf(ok bool) Status {
	if ok {
		return Pass
	}
	return Fail
}
