package session_test

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/pedro-go/pedro/session"
)

// Login, a page for users only, logout.
func ExampleSetAuthenticated() {
	sessions := quiet()
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if err := session.SetAuthenticated(r.Context(), "ana", map[string]any{"role": "nurse"}); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		if err := session.ClearAuthentication(r.Context()); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	mux.Handle("/me", session.RequireAuthenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		role, _ := session.Get[string](s, "role")
		fmt.Fprint(w, s.UserID(), ", ", role)
	})))
	visit(session.Middleware(sessions)(mux), "/me", "/login", "/me", "/logout", "/me")
	// Output:
	// /me 401 log in first
	// /login 200
	// /me 200 ana, nurse
	// /logout 200
	// /me 401 log in first
}

// After a change of the password every other session of the user is over.
func ExampleManager_RevokeOthers() {
	sessions := quiet()
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) { _ = session.SetAuthenticated(r.Context(), "ana", nil) })
	mux.HandleFunc("/password", func(w http.ResponseWriter, r *http.Request) {
		n, err := sessions.RevokeOthers(r.Context())
		fmt.Fprint(w, n, " ended, ", err)
	})
	mux.HandleFunc("/sessions", func(w http.ResponseWriter, r *http.Request) {
		list, err := sessions.Sessions(r.Context(), session.From(r.Context()).UserID())
		fmt.Fprint(w, len(list), " left, ", err)
	})
	h := session.Middleware(sessions)(mux)
	visit(h, "/login") // on the phone
	visit(h, "/login", "/password", "/sessions")
	// Output:
	// /login 200
	// /login 200
	// /password 200 1 ended, <nil>
	// /sessions 200 1 left, <nil>
}

// What happens to sessions, for an audit log.
func ExampleWithObserver() {
	sessions, err := session.New(nil, session.Config{Secrets: []string{secret}}, session.WithLogger(slog.New(slog.DiscardHandler)),
		session.WithObserver(func(e session.Event) { fmt.Println(e.Kind, e.UserID) }))
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) { _ = session.SetAuthenticated(r.Context(), "ana", nil) })
	mux.HandleFunc("/logout", func(_ http.ResponseWriter, r *http.Request) { _ = session.ClearAuthentication(r.Context()) })
	visit(session.Middleware(sessions)(mux), "/login", "/logout")
	// Output:
	// created ana
	// authenticated ana
	// /login 200
	// destroyed ana
	// /logout 200
}
