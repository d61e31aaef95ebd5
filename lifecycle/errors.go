package lifecycle

import (
	"errors"
	"fmt"
	"time"
)

// Errors to test for with [errors.Is].
var (
	// ErrInvalidConfig is wrapped by every error of [New].
	ErrInvalidConfig = errors.New("lifecycle: invalid config")

	// ErrInvalidOrder is wrapped by the error of [Group.Start] when the names
	// given to [After] are unknown or make a cycle. Nothing was started then.
	ErrInvalidOrder = errors.New("lifecycle: invalid order")

	// ErrAlreadyStarted is returned by a second [Group.Start] or [Group.Run].
	ErrAlreadyStarted = errors.New("lifecycle: group was started before")

	// ErrStopped is returned by [Group.Start] when [Group.Stop] was called before
	// or meanwhile.
	ErrStopped = errors.New("lifecycle: group was stopped")

	// ErrForced is wrapped by the error of [Group.Run] when a second signal cut
	// the stop short.
	ErrForced = errors.New("lifecycle: stop forced by a second signal")

	// ErrEnded is the error of a task that returned nil although nobody had asked
	// it to end.
	ErrEnded = errors.New("task ended")

	// ErrRequestsCut is wrapped by the error of a [Server]'s Stop that had to cut
	// requests or hijacked connections off, because its time was up.
	ErrRequestsCut = errors.New("requests cut off")
)

// Causes of the contexts that components see.
var (
	errStartTimeout = errors.New("start timeout exceeded")
	errStopTimeout  = errors.New("stop timeout exceeded")
	errStopBudget   = errors.New("stop budget exceeded")
	errGoexit       = errors.New("runtime.Goexit was called")
)

// A ComponentError tells which component failed, and in which phase. Every
// failure of a component that a [Group] returns is one, or a join of several.
type ComponentError struct {
	Name  string // the name that the component was added under
	Phase Phase  // what the group was doing with it
	Err   error  // the component's error, a *HungError or a *PanicError
}

// Error returns "lifecycle: phase name: cause".
func (e *ComponentError) Error() string {
	return fmt.Sprintf("lifecycle: %s %s: %v", e.Phase, e.Name, e.Err)
}

// Unwrap returns e.Err.
func (e *ComponentError) Unwrap() error { return e.Err }

// A HungError is the error of a component whose Start or Stop ignored the end
// of its context. The call was left behind and may still run.
type HungError struct {
	After  time.Duration // how long the call had been running
	Cause  error         // why its context had ended
	Stacks string        // of the component's own goroutines, in the form of a goroutine profile
}

// Error tells the time and the cause. The stacks are left to those who want
// them: the group logs them once.
func (e *HungError) Error() string {
	return fmt.Sprintf("did not return within %v: %v", e.After.Round(time.Millisecond), e.Cause)
}

// Unwrap returns e.Cause.
func (e *HungError) Unwrap() error { return e.Cause }

// A PanicError is the error of a component that panicked.
type PanicError struct {
	Value any    // what was passed to panic
	Stack []byte // of the goroutine that panicked
}

// Error returns the panic's value. The stack is left to those who want it: the
// group logs it once.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the panic's value if it is an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
