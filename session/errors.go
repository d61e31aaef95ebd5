package session

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalidConfig is wrapped by the errors of [ConfigFromEnv] and [New]
	// that list what is wrong with a [Config].
	ErrInvalidConfig = errors.New("session: invalid config")

	// ErrUnavailable means that it cannot be known whether there is a session,
	// or that it cannot be saved: Redis is away, and this process does not know
	// the session or may not serve it from memory. It is not "nobody is logged
	// in": answer 503, as [RequireAuthenticated] does, and keep the cookie.
	ErrUnavailable = errors.New("session: unavailable")

	// ErrEnded means that the session was ended by somebody else, by a logout,
	// a revocation or its expiry, while this request used it. What the request
	// wanted to save is dropped.
	ErrEnded = errors.New("session: ended")

	// ErrHeadersSent means that the change needs a cookie, and the response has
	// begun. Make the change, or call [Session.Save], before the first byte.
	ErrHeadersSent = errors.New("session: headers already sent")

	// ErrTooLarge means that a session exceeds [Config].MaxBytes, or what a store
	// of gorilla's kind takes. The text names the largest keys. One that is larger
	// already, because the limit was lowered, stays in use and may become smaller.
	ErrTooLarge = errors.New("session: too large")

	// ErrNoSession means that the context did not come from [Middleware], or
	// that [Manager.Revoke] found no such session.
	ErrNoSession = errors.New("session: no session")

	// ErrClosed means that the manager was stopped.
	ErrClosed = errors.New("session: closed")
)

// unavailable wraps the reason why Redis could not be asked.
func unavailable(cause error) error {
	if cause == nil || errors.Is(cause, ErrUnavailable) {
		return errors.Join(ErrUnavailable, cause)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}

// unfit reports whether a session cannot be saved by its own fault: trying again
// would not help.
func unfit(err error) bool { return errors.Is(err, ErrTooLarge) || errors.Is(err, errRefused) }

// What the layers below tell one another; none leaves the package.
var (
	errGone     = errors.New("session: not in the store") // there is no such session
	errTaken    = errors.New("session: ended before it got here")
	errCorrupt  = errors.New("session: undecodable record")
	errNotSaved = errors.New("session: store refused")
	errRefused  = errors.New("session: the store cannot hold it")

	// An unknown session may be one that another process made without Redis.
	errReuniting = errors.New("redis has only just come back, and may not have all sessions yet")
)
