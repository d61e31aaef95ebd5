// Package site is what the hosts wired by hand serve.
package site

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rbcervilla/redisstore/v9"
	"github.com/redis/go-redis/v9"
)

// Handler serves a page with a session, and the readiness.
func Handler(pool *pgxpool.Pool, client *redis.Client, store *redisstore.RedisStore) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/health/ready", func(w http.ResponseWriter, r *http.Request) {
		if err := errors.Join(pool.Ping(r.Context()), client.Ping(r.Context()).Err()); err != nil {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		s, err := store.Get(r, "session")
		if err != nil {
			http.Error(w, "no session", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, s.Values["user"])
	})
	return mux
}
