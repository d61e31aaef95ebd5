// Package backoff computes the pauses between retries.
//
// It is the one place where the module decides how long to wait before it
// tries again, so that every package backs off alike.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Policy is an exponential backoff: Min, 2*Min, 4*Min and so on, never more
// than Max. Each pause is drawn from its upper half, so that clients that
// failed together do not come back together, and yet none comes back at once.
type Policy struct {
	Min time.Duration // the first pause; must be positive
	Max time.Duration // the cap of every pause; at least Min
}

// Delay returns the pause before retry number attempt, counted from 0.
func (p Policy) Delay(attempt int) time.Duration {
	d := p.Max
	// Beyond 62 doublings the shift overflows; long before, Max has won.
	if attempt < 62 && p.Min <= p.Max>>attempt {
		d = p.Min << attempt
	}
	half := d / 2
	return half + rand.N(d-half+1) //nolint:gosec // jitter, no secret
}

// Wait sleeps for Delay(attempt). It returns early, with the cause, when ctx is
// done.
func (p Policy) Wait(ctx context.Context, attempt int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t := time.NewTimer(p.Delay(attempt))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
