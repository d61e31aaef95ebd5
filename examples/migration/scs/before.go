// Package scs is a login, a cart and a flash message, on alexedwards/scs and on
// session.
package scs

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"
)

// Before is the service on scs.
func Before(client *redis.Client) http.Handler {
	sessions := scs.New()
	sessions.Store = goredisstore.New(client)
	sessions.IdleTimeout = 30 * time.Minute
	sessions.Lifetime = 12 * time.Hour
	sessions.Cookie.Name = "id"

	loginBefore := func(ctx context.Context, user string) error {
		if err := sessions.RenewToken(ctx); err != nil {
			return err
		}
		sessions.Put(ctx, "user", user)
		sessions.Put(ctx, "flash", "welcome")
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if err := loginBefore(r.Context(), r.FormValue("user")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.Destroy(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) {
		user := sessions.GetString(r.Context(), "user")
		if user == "" {
			http.Error(w, "log in first", http.StatusUnauthorized)
			return
		}
		fmt.Fprintln(w, user, sessions.PopString(r.Context(), "flash"))
	})
	mux.HandleFunc("POST /cart", func(_ http.ResponseWriter, r *http.Request) {
		sessions.Put(r.Context(), r.FormValue("item"), 1)
	})
	mux.HandleFunc("GET /cart", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, sessions.GetInt(r.Context(), r.FormValue("item")))
	})
	return sessions.LoadAndSave(mux)
}
