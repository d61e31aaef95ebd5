package rediscache

import "testing"

// TestReplayBesideWrites: a replay deletes no key that is just being written, and
// a write that ends while the key is being deleted does not count as its
// making up.
func TestReplayBesideWrites(t *testing.T) {
	t.Parallel()
	p := pending{keys: map[string]pendingKey{"idle": {}, "written": {}}}
	p.count.Store(2)
	p.write(t.Context(), "written")
	batch := p.takeLocked()
	if _, ok := batch["idle"]; !ok || len(batch) != 1 {
		t.Errorf("the replay takes %d keys, want the idle one", len(batch))
	}
	p.settle("idle")
	p.settle("written")
	if !p.has("idle") || p.has("written") {
		t.Errorf("pending: idle %v, written %v; want the one that is being deleted", p.has("idle"), p.has("written"))
	}
}
