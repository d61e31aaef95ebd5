package session

import "time"

// A Kind is what happened to a session.
type Kind string

// What can happen to a session.
const (
	Created       Kind = "created"       // by a first write
	Authenticated Kind = "authenticated" // by a login
	Regenerated   Kind = "regenerated"   // got a new ID
	Destroyed     Kind = "destroyed"     // by a logout
	Revoked       Kind = "revoked"       // by one of the Revoke methods, or by MaxPerUser
	Expired       Kind = "expired"       // over while a request used it
	Late          Kind = "late"          // a request wanted to save, if only that it was used, and the session had been ended
	Rejected      Kind = "rejected"      // a cookie did not lead to a session; see Reason
	Moved         Kind = "moved"         // an authenticated one is used from another network or kind of browser
)

// A Reason is why a cookie was rejected.
type Reason string

// Why a cookie was rejected.
const (
	ReasonForged      Reason = "forged"      // not signed by us, truncated, or with a secret that is gone
	ReasonUnknown     Reason = "unknown"     // well signed, but the session has ended or expired
	ReasonRetired     Reason = "retired"     // an ID that was replaced, shown after the grace: lost, or stolen
	ReasonBinding     Reason = "binding"     // refused by WithBinding
	ReasonUndecodable Reason = "undecodable" // the record cannot be read
)

// An Event is something that happened to a session. It names no ID.
type Event struct {
	Kind   Kind
	Reason Reason // of Rejected
	Time   time.Time
	UserID string // empty if nobody was logged in
	Client Client // who sent the request; empty without one
}

// event tells the observers.
func (m *Manager) event(s *Session, e Event) {
	if len(m.opts.observers) == 0 {
		return
	}
	e.Time = time.Now()
	if s != nil && s.r != nil {
		e.Client = m.client(s.r)
	}
	for _, f := range m.opts.observers {
		f(e)
	}
}
