package scs

import (
	"fmt"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/session"
)

// NewAfter makes the manager. Give it to the lifecycle group, too.
func NewAfter(client redis.UniversalClient, secret string) (*session.Manager, error) {
	return session.New(client, session.Config{
		Secrets:     []string{secret},
		Name:        "id",
		IdleTimeout: 30 * time.Minute,
		Lifetime:    12 * time.Hour,
	})
}

// After is the service on session.
func After(sessions *session.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if err := session.SetAuthenticated(r.Context(), r.FormValue("user"), map[string]any{"flash": "welcome"}); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := session.ClearAuthentication(r.Context()); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	mux.Handle("GET /me", session.RequireAuthenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		flash, _ := session.Pop[string](s, "flash")
		fmt.Fprintln(w, s.UserID(), flash)
	})))
	mux.HandleFunc("POST /cart", func(w http.ResponseWriter, r *http.Request) {
		if err := session.Set(session.From(r.Context()), r.FormValue("item"), 1); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /cart", func(w http.ResponseWriter, r *http.Request) {
		n, _ := session.Get[int](session.From(r.Context()), r.FormValue("item"))
		fmt.Fprint(w, n)
	})
	return session.Middleware(sessions)(mux)
}
