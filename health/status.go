package health

import (
	"errors"
	"fmt"
)

// A Status is the state of a check or of the service, in the words of
// draft-inadarei-api-health-check-06.
type Status string

// The states, from good to bad.
const (
	Pass Status = "pass"
	Warn Status = "warn" // something is wrong, and the service works
	Fail Status = "fail"
)

// worse returns the worse of two.
func worse(a, b Status) Status {
	if severity(b) > severity(a) {
		return b
	}
	return a
}

func severity(s Status) int {
	switch s {
	case Fail:
		return 2
	case Warn:
		return 1
	default:
		return 0
	}
}

// A Phase is where the service is in its life. The words are those of
// lifecycle.State, so that a host can pass them on.
type Phase string

// The phases. Only a running service is ready.
const (
	Starting Phase = "starting"
	Running  Phase = "running"
	Draining Phase = "draining"
	Stopping Phase = "stopping"
)

// degraded marks an error as a warning.
type degraded struct{ error }

// Degraded makes an error that a check returns a warning instead of a failure:
// something is wrong, and the service works all the same. A nil err stays nil.
// Of errors that are joined the worst counts: one that is not degraded is a
// failure.
func Degraded(err error) error {
	if err == nil {
		return nil
	}
	return degraded{err}
}

// Unwrap returns the error that Degraded was given.
func (d degraded) Unwrap() error { return d.error }

func (degraded) isWarning() {}

// statusOf returns the state that a check's error means by itself.
func statusOf(err error) Status {
	if err == nil {
		return Pass
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if _, ok := e.(interface{ isWarning() }); ok {
			return Warn
		}
		if join, ok := e.(interface{ Unwrap() []error }); ok {
			return worstOf(join.Unwrap())
		}
	}
	return Fail
}

// worstOf returns the state of the worst branch of an error. There is an error,
// so it does not pass.
func worstOf(branches []error) Status {
	worst := Pass
	for _, err := range branches {
		worst = worse(worst, statusOf(err))
	}
	if worst == Pass {
		return Fail
	}
	return worst
}

// errPanicked and its like are failures that the package itself finds.
var (
	errPanicked = errors.New("the check panicked")
	errBadError = errors.New("the check's error panics")
	errTimeout  = errors.New("the check did not return within its time limit")
	errNoResult = errors.New("the check has not run yet")
	errStale    = errors.New("the last result is out of date")
)

func panicError(v any) error { return fmt.Errorf("%w: %v", errPanicked, v) }
