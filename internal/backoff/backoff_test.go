package backoff_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pedro-go/pedro/internal/backoff"
)

func TestDelayGrowsUpToTheCap(t *testing.T) {
	t.Parallel()
	p := backoff.Policy{Min: 10 * time.Millisecond, Max: time.Second}
	for attempt, ms := range []int{10, 20, 40, 80, 160, 320, 640, 1000, 1000} {
		full := time.Duration(ms) * time.Millisecond
		for range 100 {
			if got := p.Delay(attempt); got < full/2 || got > full {
				t.Fatalf("Delay(%d) = %v, want between %v and %v", attempt, got, full/2, full)
			}
		}
	}
	for _, attempt := range []int{61, 62, 63, 64, 1 << 40} {
		if got := p.Delay(attempt); got < p.Max/2 || got > p.Max {
			t.Errorf("Delay(%d) = %v, want about %v", attempt, got, p.Max)
		}
	}
}

func TestDelayIsJittered(t *testing.T) {
	t.Parallel()
	p := backoff.Policy{Min: time.Second, Max: time.Second}
	seen := map[time.Duration]bool{}
	for range 100 {
		seen[p.Delay(0)] = true
	}
	if len(seen) < 50 {
		t.Errorf("100 delays took %d values, want them spread", len(seen))
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := backoff.Policy{Min: time.Hour, Max: time.Hour}
		want := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, want)
		defer cancel()
		start := time.Now()
		if err := p.Wait(ctx, 0); !errors.Is(err, want) {
			t.Errorf("Wait = %v, want %v", err, want)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("Wait took %v, want 1m", took)
		}
		if err := p.Wait(ctx, 0); !errors.Is(err, want) {
			t.Errorf("Wait on a done context = %v, want %v", err, want)
		}
		if err := (backoff.Policy{Min: 1, Max: 1}).Wait(t.Context(), 0); err != nil {
			t.Errorf("Wait = %v, want nil", err)
		}
	})
}
