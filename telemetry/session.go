package telemetry

import (
	"time"

	"github.com/pedro-go/pedro/session"
)

func (t *Telemetry) watchSessions(m *session.Manager) error {
	i := t.instruments()
	events := i.counter("pedro.session.events", "{event}", "What happened to sessions")
	loads := i.counter("pedro.session.loads", "{request}", "Requests that used an existing session, by where it came from")
	rejected := i.counter("pedro.session.rejected", "{request}", "Cookies that led to no session, by reason")
	saves := i.counter("pedro.session.saves.failed", "{save}", "Saves that failed")
	fallback := i.level("pedro.session.fallback.duration", "s", "For how long memory has been answering for Redis; 0 while it does not")
	waiting := i.gauge("pedro.session.waiting", "{session}", "Sessions and revocations that Redis does not know yet")
	memory := i.gauge("pedro.session.memory", "By", "Roughly what is remembered of sessions in the process")
	largest := i.level("pedro.session.largest", "By", "The largest session saved")
	return i.observed(func(o observer) {
		s := m.Stats()
		for event, n := range map[string]int64{
			"created": s.Created, "login": s.Logins, "regenerated": s.Regenerated, "destroyed": s.Destroyed, "revoked": s.Revoked,
			"merged": s.Merged, "late": s.LateWrites, "touched": s.Touches, "replayed": s.Replayed,
		} {
			o.number(events, n, keyEvent.String(event))
		}
		o.number(loads, s.FromMemory, keyOutcome.String("memory"))
		o.number(loads, max(s.Loaded-s.FromMemory, 0), keyOutcome.String("store"))
		for _, reason := range []session.Reason{session.ReasonForged, session.ReasonUnknown, session.ReasonRetired, session.ReasonBinding, session.ReasonUndecodable} {
			o.number(rejected, s.Rejected[reason], keyReason.String(string(reason)))
		}
		o.number(saves, s.Failed)
		var since time.Duration
		if !s.FallbackSince.IsZero() {
			since = time.Since(s.FallbackSince)
		}
		o.value(fallback, since.Seconds())
		o.number(waiting, int64(s.Waiting))
		o.number(memory, s.MemoryBytes)
		o.value(largest, float64(s.Largest))
	})
}
