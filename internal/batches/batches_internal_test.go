package batches

import (
	"testing"
	"time"
)

// least returns how many of 64 calls have to be queued until they leave, while
// a batch is under way.
func least(p *Pace) int {
	for queued := range 65 {
		if p.Due(queued, 64, 1) {
			return queued
		}
	}
	return -1
}

func TestDue(t *testing.T) {
	t.Parallel()
	var p Pace
	if p.Due(0, 64, 0) {
		t.Error("nothing is due")
	}
	if !p.Due(1, 64, 0) {
		t.Error("with nothing under way, one call waits")
	}
	if !p.Due(Max, 100*Max, 1) {
		t.Error("a full batch waits")
	}
	if got := least(&p); got != 32 {
		t.Errorf("at first %d of 64 are due, want 32", got)
	}
}

func TestShareByDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		roundTrip time.Duration
		least     int
	}{
		{50 * time.Microsecond, 32},
		{300 * time.Microsecond, 32},
		{600 * time.Microsecond, 16},
		{1200 * time.Microsecond, 8},
		{20 * time.Millisecond, 8},
	} {
		var p Pace
		p.Took(c.roundTrip)
		if got := least(&p); got != c.least {
			t.Errorf("at %v %d of 64 are due, want %d", c.roundTrip, got, c.least)
		}
	}
}

// TestLoadIsNotDistance: most batches of a busy process take long; a few that
// do not tell how near the server is. One that has moved away is noticed.
func TestLoadIsNotDistance(t *testing.T) {
	t.Parallel()
	var p Pace
	for range 1000 {
		p.Took(100 * time.Microsecond)
		for range 10 {
			p.Took(2 * time.Millisecond)
		}
	}
	if got := least(&p); got != 32 {
		t.Errorf("under load %d of 64 are due, want 32", got)
	}
	for range 1000 {
		p.Took(2 * time.Millisecond)
	}
	if got := least(&p); got != 8 {
		t.Errorf("far away %d of 64 are due, want 8", got)
	}
}
