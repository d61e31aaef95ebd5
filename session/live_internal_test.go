package session

import (
	"slices"
	"testing"
)

// TestLiveIsBounded: what was not used lately goes first, and what Redis does
// not know yet stays, however much it is.
func TestLiveIsBounded(t *testing.T) {
	t.Parallel()
	const limit = liveShards * 20 * entryOverhead
	l := newLive(limit)
	add := func(v *view) ident {
		e := l.entry(identOf(newToken("")))
		e.view.Store(v)
		l.grew(e, 0)
		return e.id
	}
	var dirty []ident
	for range 200 {
		dirty = append(dirty, add(&view{rec: &record{}, dirty: true}))
	}
	kept := l.bytes()
	var last ident
	for range 10_000 {
		last = add(&view{rec: &record{}})
	}
	if got := l.bytes(); got > limit+kept {
		t.Errorf("%d bytes, want at most the limit of %d and the %d that wait for Redis", got, limit, kept)
	}
	for _, id := range dirty {
		if l.get(id.sid) == nil {
			t.Fatal("a session that Redis does not know was thrown away")
		}
	}
	if l.get(last.sid) == nil {
		t.Error("the session that came last was thrown away")
	}
}

// TestLiveForgetsTheEnded: but not what Redis is still to be told.
func TestLiveForgetsTheEnded(t *testing.T) {
	t.Parallel()
	l := newLive(1 << 20)
	over := &record{User: "over"}
	ids := map[string]ident{}
	for name, v := range map[string]*view{
		"used":        {rec: &record{}},
		"expired":     {rec: over},
		"ended":       {gone: true},
		"written":     {rec: &record{}, dirty: true},
		"written old": {rec: over, dirty: true},
		"ended here":  {rec: &record{}, gone: true, dirty: true},
		"unknown":     nil,
	} {
		ids[name] = identOf(newToken(""))
		e := l.entry(ids[name])
		if v != nil {
			e.view.Store(v)
		}
		l.grew(e, 100)
	}
	if n := l.expire(func(r *record) bool { return r == over }); n != 4 {
		t.Errorf("%d entries are left, want 4", n)
	}
	var left []string
	for _, name := range []string{"used", "expired", "ended", "written", "written old", "ended here", "unknown"} {
		if l.get(ids[name].sid) != nil {
			left = append(left, name)
		}
	}
	if want := []string{"used", "written", "ended here", "unknown"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
	if got, want := l.bytes(), int64(4*(entryOverhead+200)); got != want {
		t.Errorf("%d bytes are accounted for, want %d", got, want)
	}
}
