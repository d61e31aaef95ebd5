package session

import (
	"log/slog"

	"github.com/gorilla/sessions"
)

// An Option is something with behaviour that [New] takes beside the plain data
// of [Config].
type Option func(*options)

// options is what the Options set.
type options struct {
	logger    *slog.Logger
	observers []func(Event)
	binding   func(before, now Client) bool
	express   *ExpressConfig
	gorilla   sessions.Store
	imports   *RedisstoreConfig
}

// WithLogger sets where the manager reports changes of state and recovered
// trouble. The default, also for nil, is [slog.Default] at the time of [New].
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithObserver has f called for each event of a session's life, on the
// goroutine of the request, after the fact. It must return quickly and be safe
// for concurrent use. Repeating it appends. Nil is ignored.
func WithObserver(f func(Event)) Option {
	return func(o *options) {
		if f != nil {
			o.observers = append(o.observers, f)
		}
	}
}

// WithBinding has f asked when an authenticated session shows up from another
// network or another kind of browser than it was made with. False rejects the
// request: it is anonymous, while the session itself lives on. Addresses of
// phones change and browsers update themselves, so f should look at both, and
// rather ask for a password again ([RequireRecent]) than refuse. Without it,
// such a change is only reported to the observers ([Moved]).
func WithBinding(f func(before, now Client) bool) Option {
	return func(o *options) { o.binding = f }
}

// WithGorillaStore has sessions kept by any gorilla/sessions store. The client
// given to [New] may be nil: it is not used. Records are encrypted and cookies
// signed as ever, and the holes of the store are closed as far as somebody
// outside of it can:
//
//   - Parallel requests are merged, and ended sessions stay ended, within this
//     process; between processes only as well as the store does it.
//   - [Manager.Sessions] and the Revoke methods know what this process has seen.
//   - A store that keeps everything in the cookie, such as gorilla's
//     CookieStore, ends a session only in this process, and is not told of
//     parallel changes: whoever has an old cookie has an old session.
//
// A store that takes the bare cookie for the ID, as redisstore does, is asked
// with a hash of ours; others keep their own cookie within ours.
func WithGorillaStore(s sessions.Store) Option {
	return func(o *options) { o.gorilla = s }
}
