package session

import (
	"bytes"
	"encoding/json"
	"maps"
	"time"
)

// A record is a stored session. It is never changed once made; see clone.
type record struct {
	Created  int64  `json:"c"`           // ms since 1970; the absolute timeout counts from here
	Seen     int64  `json:"s"`           // last use that was written down
	Rotated  int64  `json:"r"`           // when the ID was made
	AuthTime int64  `json:"a,omitempty"` // when the user logged in
	Epoch    int64  `json:"e,omitempty"` // of RevokeAll
	User     string `json:"u,omitempty"`
	Requests int64  `json:"n,omitempty"`
	IP       string `json:"ip,omitempty"` // of the last use that was written down
	Agent    string `json:"ua,omitempty"`
	BornIP   string `json:"bi,omitempty"` // coarse, of the time it was made: what the binding compares
	BornUA   string `json:"bu,omitempty"`

	Values map[string]json.RawMessage `json:"v,omitempty"`
	// Marks are the latest saves that held an Update: whether one has arrived
	// must be known before it is done again.
	Marks []uint32 `json:"m,omitempty"`

	// A retired ID. Next leads to its successor until Until; without Next the
	// ID is dead, and the record is there to recognize it.
	Retired bool   `json:"x,omitempty"`
	Next    string `json:"nx,omitempty"`
	Until   int64  `json:"nu,omitempty"`

	// Loose: nobody answered when it was made, so that the command may still come.
	Loose bool `json:"l,omitempty"`

	foreign *foreign // what a record of another format holds beside
	old     bool     // not as we would write it today: sealed with an old secret
}

// clone returns a copy whose Values may be changed.
func (r *record) clone() *record {
	c := *r
	c.Values = maps.Clone(r.Values)
	if c.Values == nil {
		c.Values = map[string]json.RawMessage{}
	}
	return &c
}

// expiry is when the record ends by itself.
func expiry(c *Config, r *record) time.Time {
	end := time.UnixMilli(r.Seen).Add(c.IdleTimeout)
	if c.Lifetime > 0 {
		if last := time.UnixMilli(r.Created).Add(c.Lifetime); last.Before(end) {
			end = last
		}
	}
	if r.Retired {
		end = time.UnixMilli(r.Rotated).Add(retiredFor(c))
	}
	return end
}

// retiredFor is how long an ID that was replaced is recognized.
func retiredFor(c *Config) time.Duration { return max(c.RegenerateGrace, c.IdleTimeout) }

// maxMarks bounds Marks.
const maxMarks = 64

// mark notes a save.
func (r *record) mark(m uint32) {
	kept := r.Marks[max(0, len(r.Marks)-maxMarks+1):]
	r.Marks = append(append(make([]uint32, 0, len(kept)+1), kept...), m)
}

// merge puts what changed between base and ours onto theirs: the three-way
// merge. Whole keys only; where both changed one, ours is the later.
func merge(base, ours, theirs *record) *record {
	out := theirs.clone()
	for key, value := range ours.Values {
		if old, ok := base.Values[key]; !ok || !bytes.Equal(old, value) {
			out.Values[key] = value
		}
	}
	for key := range base.Values {
		if _, kept := ours.Values[key]; !kept {
			delete(out.Values, key)
		}
	}
	out.Seen = max(out.Seen, ours.Seen)
	out.Loose = out.Loose || ours.Loose
	out.Requests += max(0, ours.Requests-base.Requests)
	if ours.Seen >= theirs.Seen {
		out.IP, out.Agent = ours.IP, ours.Agent
	}
	return out
}
