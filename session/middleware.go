package session

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// Middleware gives each request its session, reached by [From]. Changes are
// saved once, before the first byte of the response, together with the cookie;
// if that fails the response is 503 and the handler's body is discarded.
// Changes to a session that the client knows already are saved at the end too.
// If the handler panics, nothing more is saved.
func Middleware(m *Manager) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			x := &exchange{Context: r.Context()}
			x.session.m, x.session.r, x.session.name = m, r, m.cookieName
			x.writer.ResponseWriter, x.writer.s = w, &x.session
			next.ServeHTTP(&x.writer, r.WithContext(x))
			x.writer.finish() // not after a panic
		})
	}
}

// An exchange is everything that one request needs, in one piece of memory: it
// is the request's context too.
type exchange struct {
	context.Context //nolint:containedctx // it is one
	session         Session
	writer          writer
}

// Value finds the session.
func (x *exchange) Value(key any) any {
	if _, ok := key.(sessionKey); ok {
		return &x.session
	}
	return x.Context.Value(key)
}

// RequireAuthenticated lets only requests of logged-in users through. Others
// get 401, or 503 with Retry-After while it cannot be known who they are; their
// cookie is left alone.
func RequireAuthenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse(w, From(r.Context())) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RequireRecent lets only requests of users through who logged in no longer ago
// than within: for what matters, such as a change of password. Others get 401
// with a WWW-Authenticate that says so (RFC 9470), or 503 as from
// [RequireAuthenticated].
func RequireRecent(within time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := From(r.Context())
			if refuse(w, s) {
				return
			}
			if !s.RecentAuth(within) {
				w.Header().Set("WWW-Authenticate", `Session error="insufficient_user_authentication"`)
				http.Error(w, "log in again to do this", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// refuse answers for a request without a user, and reports whether it did.
func refuse(w http.ResponseWriter, s *Session) bool {
	if s.IsAuthenticated() {
		return false
	}
	if errors.Is(s.Err(), ErrUnavailable) {
		serviceUnavailable(w)
		return true
	}
	w.Header().Set("WWW-Authenticate", "Session")
	http.Error(w, "log in first", http.StatusUnauthorized)
	return true
}

func serviceUnavailable(w http.ResponseWriter) {
	h := w.Header()
	for _, name := range []string{"Location", "Set-Cookie", "Trailer"} {
		h.Del(name)
	}
	for name := range h {
		if strings.HasPrefix(name, "Content-") {
			h.Del(name)
		}
	}
	h.Set("Retry-After", "1")
	h.Set("Cache-Control", "no-store")
	http.Error(w, "sessions are unavailable, please try again", http.StatusServiceUnavailable)
}
