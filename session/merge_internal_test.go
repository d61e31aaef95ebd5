package session

import (
	"encoding/json"
	"maps"
	"testing"
)

// TestMerge: what changed here is put on top of what is there.
func TestMerge(t *testing.T) {
	t.Parallel()
	values := func(kv ...string) map[string]json.RawMessage {
		m := map[string]json.RawMessage{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = json.RawMessage(kv[i+1])
		}
		return m
	}
	for name, c := range map[string]struct{ base, ours, theirs, want map[string]json.RawMessage }{
		"added here":                 {values(), values("a", "1"), values("b", "2"), values("a", "1", "b", "2")},
		"changed here":               {values("a", "1"), values("a", "2"), values("a", "1", "b", "2"), values("a", "2", "b", "2")},
		"changed there":              {values("a", "1"), values("a", "1"), values("a", "3"), values("a", "3")},
		"changed in both":            {values("a", "1"), values("a", "2"), values("a", "3"), values("a", "2")},
		"deleted here":               {values("a", "1", "b", "1"), values("b", "1"), values("a", "1", "b", "1"), values("b", "1")},
		"deleted here, kept changed": {values("a", "1"), values(), values("a", "2"), values()},
		"deleted there":              {values("a", "1"), values("a", "1"), values(), values()},
	} {
		base, ours, theirs := &record{Values: c.base}, &record{Values: c.ours}, &record{Values: c.theirs}
		got := merge(base, ours, theirs)
		if !maps.EqualFunc(got.Values, c.want, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Errorf("%s: got %s, want %s", name, got.Values, c.want)
		}
	}
	base := &record{Seen: 10, Requests: 5, IP: "base"}
	for _, c := range []struct {
		ours, theirs int64
		ip           string
	}{{20, 30, "theirs"}, {30, 20, "ours"}, {20, 20, "ours"}} {
		got := merge(base, &record{Seen: c.ours, Requests: 7, IP: "ours", Agent: "ours"}, &record{Seen: c.theirs, Requests: 6, IP: "theirs", Agent: "theirs"})
		if got.Seen != max(c.ours, c.theirs) || got.Requests != 8 || got.IP != c.ip || got.Agent != c.ip {
			t.Errorf("seen here %d, there %d: got %+v", c.ours, c.theirs, got)
		}
	}
}
