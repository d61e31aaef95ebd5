package rediscache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/redis/go-redis/v9"
)

var (
	// ErrInvalidConfig is wrapped by the errors of [ConfigFromEnv] and [New]
	// that list what is wrong with a [Config].
	ErrInvalidConfig = errors.New("rediscache: invalid config")

	// ErrNotFound means that the cache holds nothing under the key, or, from
	// [Namespace.Load], that the loader found nothing. A loader returns it (or
	// an error that wraps it) to say so; see [NegativeTTL].
	ErrNotFound = errors.New("rediscache: not found")

	// ErrUnavailable means that Redis could not be asked: it is away, hangs, is
	// still loading its data, or does not accept our credentials. While the
	// gate is open it is returned within microseconds, also by commands given
	// to the client of [Cache.Redis].
	ErrUnavailable = errors.New("rediscache: redis unavailable")

	// ErrClosed means that the cache was stopped.
	ErrClosed = errors.New("rediscache: closed")

	// ErrTooLarge means that a value exceeds [Config].MaxValueBytes, or that
	// the server announced a reply larger than [Config].MaxReplyBytes.
	ErrTooLarge = errors.New("rediscache: too large")

	// ErrLoaderPanic is wrapped by the error that every waiter of a
	// [Namespace.Load] gets when the loader panicked. The error's text carries
	// the panic's value; [PanicError] carries the stack too.
	ErrLoaderPanic = errors.New("rediscache: loader panicked")
)

// A PanicError is a panic of a loader, given to all who waited for the load.
type PanicError struct {
	Value any    // what was passed to panic
	Stack []byte // the loader's stack
}

// Error returns the panic's value as text.
func (e *PanicError) Error() string { return fmt.Sprintf("%v: %v", ErrLoaderPanic, e.Value) }

// Unwrap returns [ErrLoaderPanic].
func (e *PanicError) Unwrap() error { return ErrLoaderPanic }

// unavailableError is what a refused or failed call returns: ErrUnavailable,
// and the reason why. One is made per outage, not per call.
type unavailableError struct{ cause error }

func (e *unavailableError) Error() string {
	if e.cause == nil {
		return ErrUnavailable.Error()
	}
	return ErrUnavailable.Error() + ": " + e.cause.Error()
}

func (e *unavailableError) Unwrap() []error { return []error{ErrUnavailable, e.cause} }

// opError wraps the cause of a failed operation once, at the package's border.
func opError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.ErrClosed) && !errors.Is(err, ErrClosed):
		return fmt.Errorf("rediscache: %s: %w: %w", op, ErrClosed, err)
	}
	if classify(err).away() && !errors.Is(err, ErrUnavailable) {
		err = &unavailableError{cause: err}
	}
	return fmt.Errorf("rediscache: %s: %w", op, err)
}

// class is what an error of a command means for the gate and for a retry.
type class int

const (
	classOK       class = iota // a reply, also redis.Nil and errors about the command itself
	classCanceled              // the caller gave up: says nothing about the server
	classRefused               // no connection: the server is certainly not there
	classBroken                // an established connection failed: the command may have run
	classTimeout               // no answer in time: the command may have run
	classNotReady              // LOADING, MASTERDOWN, CLUSTERDOWN: answered, cannot serve; the command did not run
	classAuth                  // NOAUTH, WRONGPASS: answered, and will not serve until somebody mends it
	classReadOnly              // READONLY: we talk to a demoted master; the command did not run
	classMoved                 // MOVED, ASK, TRYAGAIN beyond go-redis' own redirects; the command did not run
	classOOM                   // OOM: the server is full; reads work, this write did not run
	classBusy                  // the pool is exhausted or the server has too many clients; the command did not run
	classRefusing              // NOREPLICAS, MISCONF, BUSY: answered, takes no writes, or nothing, for now; the command did not run
)

// away reports whether the class means that Redis could not be asked.
func (c class) away() bool {
	switch c {
	case classRefused, classBroken, classTimeout, classNotReady, classAuth, classBusy:
		return true
	default:
		return false
	}
}

// notRun reports whether the command certainly did not run, so that it may be
// sent again whatever it is.
func (c class) notRun() bool {
	switch c {
	case classReadOnly, classMoved:
		return true
	default:
		return false
	}
}

func classify(err error) class {
	if e, ok := errors.AsType[*endedError](err); ok {
		err = e.end
	}
	switch {
	case err == nil, errors.Is(err, redis.Nil):
		return classOK
	case errors.Is(err, ErrUnavailable):
		return classRefused
	case errors.Is(err, errCredentials):
		return classAuth
	case errors.Is(err, errHook):
		return classCanceled
	}
	if _, ok := errors.AsType[redis.Error](err); ok {
		return classifyReply(err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return classRefused
	}
	if errors.Is(err, errDialing) {
		return classRefused
	}
	if errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) {
		return classBusy
	}
	if errors.Is(err, context.Canceled) {
		return classCanceled
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return classTimeout
	}
	if ok := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed); ok {
		return classBroken
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return classBroken
	}
	return classOK
}

// classifyReply classifies an error that the server itself sent.
func classifyReply(err error) class {
	switch {
	case redis.IsLoadingError(err), redis.IsMasterDownError(err), redis.IsClusterDownError(err):
		return classNotReady
	case redis.IsReadOnlyError(err):
		return classReadOnly
	case redis.IsAuthError(err):
		return classAuth
	case redis.IsOOMError(err):
		return classOOM
	case redis.IsMaxClientsError(err):
		return classBusy
	case redis.IsTryAgainError(err):
		return classMoved
	}
	for _, prefix := range []string{"NOREPLICAS", "MISCONF", "BUSY"} {
		if redis.HasErrorPrefix(err, prefix) {
			return classRefusing
		}
	}
	if _, ok := redis.IsMovedError(err); ok {
		return classMoved
	}
	if _, ok := redis.IsAskError(err); ok {
		return classMoved
	}
	return classOK
}
