package gorilla

import (
	"fmt"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/session"
)

// NewAfter makes the manager. Whoever is logged in stays so: sessions that
// redisstore wrote are taken over when their cookie shows up.
func NewAfter(client redis.UniversalClient, secret string) (*session.Manager, error) {
	return session.New(client, session.Config{Secrets: []string{secret}, Name: "clinic.sid"},
		session.WithRedisstoreRecords(session.RedisstoreConfig{Name: "clinic", UserKey: "user"}))
}

// After is the service on session.
func After(sessions *session.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if err := session.SetAuthenticated(r.Context(), r.FormValue("user"), map[string]any{"theme": "dark"}); err != nil {
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
		theme, _ := session.Get[string](s, "theme")
		fmt.Fprintln(w, s.UserID(), theme)
	})))
	return session.Middleware(sessions)(mux)
}

// Unchanged keeps code that is written for gorilla/sessions as it is, on the
// store of the manager.
func Unchanged(sessions *session.Manager) http.Handler {
	return session.Middleware(sessions)(handlerBefore(sessions.GorillaStore()))
}
