package rediscache

import (
	"errors"
	"os"
	"time"
)

// A deadline is that of one direction of a socket. go-redis sets and unsets
// deadlines three times a call, and each time costs locks, looks at the clock and
// a timer. So a socket keeps one that is earlier than what is wanted: most calls
// are over long before, and whom it strikes waits for the rest.
type deadline struct {
	wanted time.Time // zero: none
	armed  time.Time // what the socket has
	arm    func(time.Time) error
	exact  bool // the socket gets each at once
}

// set notes what is wanted from now on.
func (d *deadline) set(t time.Time) error {
	d.wanted = t
	if early := !d.armed.IsZero() && (t.IsZero() || d.armed.Before(t)); early && !d.exact {
		return nil
	}
	return d.settle()
}

// settle gives the socket what is wanted.
func (d *deadline) settle() error {
	if d.armed.Equal(d.wanted) {
		return nil
	}
	d.armed = d.wanted
	return d.arm(d.wanted)
}

// retry reports whether what failed was struck too early, and may go on.
func (d *deadline) retry(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && !d.armed.Equal(d.wanted) && d.settle() == nil
}
