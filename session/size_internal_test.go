package session

import (
	"encoding/json"
	"testing"
)

// TestTextBytes: what is measured is what encoding/json writes.
func TestTextBytes(t *testing.T) {
	t.Parallel()
	for r := range rune(0x3000) {
		s := "a" + string(r)
		if b, err := json.Marshal(s); err != nil || textBytes(s) != len(b) {
			t.Errorf("%q: got %d bytes, want %d of %s, %v", s, textBytes(s), len(b), b, err)
		}
	}
}
