package health

import (
	"encoding/json"
	"time"
)

// body is the JSON for programs: the form of the Node backend's endpoints, with
// the states of the draft.
type body struct {
	Status    Status             `json:"status"`
	Timestamp time.Time          `json:"timestamp"`
	Phase     Phase              `json:"phase,omitempty"`
	Name      string             `json:"name,omitempty"`
	Version   string             `json:"version,omitempty"`
	Uptime    *float64           `json:"uptime,omitempty"` // seconds
	Silent    []string           `json:"silent_heartbeats,omitempty"`
	Services  map[string]service `json:"services,omitempty"`
	Advice    []string           `json:"advice,omitempty"`
}

// service is a check in it.
type service struct {
	Status    Status          `json:"status"`
	Optional  bool            `json:"optional,omitempty"`
	Error     string          `json:"error,omitempty"`   // the class
	Message   string          `json:"message,omitempty"` // the text
	Since     *time.Time      `json:"since,omitempty"`
	CheckedAt *time.Time      `json:"checked_at,omitempty"`
	LatencyMS float64         `json:"latency_ms,omitempty"`
	P50MS     float64         `json:"latency_p50_ms,omitempty"`
	P99MS     float64         `json:"latency_p99_ms,omitempty"`
	Details   json.RawMessage `json:"details,omitempty"`
	Gauges    []Gauge         `json:"gauges,omitempty"`
	History   []Sample        `json:"history,omitempty"`
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// json renders the view for programs.
func (v *view) json() []byte {
	b := body{Status: v.Verdict, Timestamp: v.At.UTC().Truncate(time.Millisecond)}
	if v.level >= LevelStates {
		b.Phase, b.Silent = v.Phase, v.Silent
		b.Services = make(map[string]service, len(v.Checks))
		for i := range v.Checks {
			b.Services[v.Checks[i].Name] = v.service(&v.Checks[i])
		}
	}
	if v.endpoint == endpointDetailed && v.level >= LevelStates {
		b.Uptime = new(v.Uptime.Round(time.Millisecond).Seconds())
	}
	if v.endpoint == endpointDetailed && v.everything() {
		b.Name, b.Version, b.Advice = v.Name, v.Version, v.Advice
	}
	return marshal(b)
}

func (v *view) service(r *CheckReport) service {
	s := service{Status: r.Status, Optional: r.Optional, Error: r.Class, Message: v.message(r)}
	if v.endpoint != endpointDetailed {
		return s
	}
	s.Since = new(r.Since.UTC().Truncate(time.Millisecond))
	if !r.At.IsZero() {
		s.CheckedAt = new(r.At.UTC().Truncate(time.Millisecond))
	}
	s.LatencyMS, s.P50MS, s.P99MS = ms(r.Duration), ms(r.P50), ms(r.P99)
	if v.everything() {
		s.Details, s.Gauges, s.History = r.encoded, r.Gauges, r.History
	}
	return s
}

// draftBody is application/health+json, draft-inadarei-api-health-check-06.
type draftBody struct {
	Status      Status                  `json:"status"`
	Version     string                  `json:"version,omitempty"`
	Description string                  `json:"description,omitempty"`
	Notes       []string                `json:"notes,omitempty"`
	Output      string                  `json:"output,omitempty"`
	Checks      map[string][]draftCheck `json:"checks,omitempty"`
}

// draftCheck is one measurement of a component.
type draftCheck struct {
	ComponentType string  `json:"componentType,omitempty"`
	Value         float64 `json:"observedValue"`
	Unit          string  `json:"observedUnit,omitempty"`
	Status        Status  `json:"status,omitempty"`
	Time          string  `json:"time,omitempty"`
	Output        string  `json:"output,omitempty"`
}

// healthJSON renders the view as the draft has it. Its "output" is for what is
// wrong, so it is left out of what passes.
func (v *view) healthJSON() []byte {
	b := draftBody{Status: v.Verdict}
	if v.level >= LevelStates {
		b.Checks = make(map[string][]draftCheck, len(v.Checks))
		for i := range v.Checks {
			r := &v.Checks[i]
			check := draftCheck{ComponentType: "component", Value: ms(r.Duration), Unit: "ms", Status: r.Status, Output: r.Class}
			if !r.At.IsZero() {
				check.Time = r.At.UTC().Format(time.RFC3339)
			}
			if text := v.message(r); text != "" {
				check.Output = text
			}
			b.Checks[r.Name+":responseTime"] = []draftCheck{check}
			if !v.everything() || v.endpoint != endpointDetailed {
				continue
			}
			for _, g := range r.Gauges {
				key := r.Name + ":" + g.Name
				b.Checks[key] = append(b.Checks[key], draftCheck{ComponentType: "component", Value: g.Value, Unit: g.Unit})
			}
		}
	}
	if v.everything() {
		b.Version, b.Description, b.Notes = v.Version, v.Name, v.Advice
	}
	return marshal(b)
}

// marshal renders JSON.
func marshal(b any) []byte {
	data, err := json.Marshal(b)
	if err != nil { // cannot be: all of it is ours, and details are JSON already
		return []byte("{}\n")
	}
	return append(data, '\n')
}
