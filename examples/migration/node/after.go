// Package node is the service of before.js on pedro: the same addresses, the
// same tables, the same sessions and the same cached values, so that both can
// run at the same time.
package node

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

// Service is what the handlers need.
type Service struct {
	pool  *pgpool.Pool
	cache *rediscache.Cache
}

// New returns the service on what Connect made.
func New(pool *pgpool.Pool, cache *rediscache.Cache) *Service { return &Service{pool, cache} }

// Connect reads the same variables as the Node service and makes what it made.
// Nothing is dialed yet.
func Connect() (*pgpool.Pool, *rediscache.Cache, *session.Manager, error) {
	dbCfg, err1 := pgpool.ConfigFromEnv()
	rdCfg, err2 := rediscache.ConfigFromEnv()
	snCfg, err3 := session.ConfigFromEnv()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, nil, err
	}
	pool, err1 := pgpool.New(dbCfg)
	cache, err2 := rediscache.New(rdCfg)
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, nil, err
	}
	sessions, err := session.New(cache.Redis(), snCfg, session.WithExpressSessions(session.ExpressConfig{
		AuthenticatedKey: "isAuthenticated",
		MaxAge:           24 * time.Hour, // cookie.maxAge
	}))
	return pool, cache, sessions, err
}

// Book is the transaction of before.js.
func (s *Service) Book(ctx context.Context, patient, reason string) (int64, error) {
	return pgpool.Transaction(ctx, s.pool, func(ctx context.Context, tx pgx.Tx) (int64, error) {
		visit, err := pgpool.Get[int64](ctx, tx, "insert into visits (patient, reason) values ($1::bigint, $2) returning id", patient, reason)
		if err != nil {
			return 0, err
		}
		_, err = tx.Exec(ctx, "update patients set visits = visits + 1 where id = $1::bigint", patient)
		pgpool.AfterCommit(ctx, func(ctx context.Context) { _, _ = s.cache.Del(ctx, "patient:"+patient) })
		return visit, err
	})
}

// Patient is what the Node service puts into the cache, field for field.
type Patient struct {
	Name   string `json:"name"`
	Visits int    `json:"visits"`
}

// Patient reads and writes the keys of the Node service. When that is gone, a
// namespace does more with less: see Namespace.
func (s *Service) Patient(ctx context.Context, id string) (Patient, error) {
	var p Patient
	if err := s.cache.Get(ctx, "patient:"+id, &p); err == nil {
		return p, nil // else it is not there, or Redis is away: ask the database
	}
	p, err := pgpool.Get[Patient](ctx, s.pool, "select name, visits from patients where id = $1::bigint", id)
	if err != nil {
		return p, err
	}
	_ = s.cache.Set(ctx, "patient:"+id, p, time.Hour)
	return p, nil
}

// Namespace is the cache after the move: one load a key however many ask, none
// of what was read before a change is stored after it, and an outage of Redis is
// no error. Its keys begin with "patients:", so that it and Node do not meet.
func (s *Service) Namespace() func(ctx context.Context, id string) (Patient, error) {
	patients := rediscache.Of[Patient](s.cache, "patients", rediscache.TTL(time.Hour))
	return func(ctx context.Context, id string) (Patient, error) {
		return patients.Load(ctx, id, func(ctx context.Context, id string) (Patient, error) {
			return pgpool.Get[Patient](ctx, s.pool, "select name, visits from patients where id = $1::bigint", id)
		})
	}
}

// login is that of before.js; requireAuth is session.RequireAuthenticated.
func login(w http.ResponseWriter, r *http.Request) {
	err := session.SetAuthenticated(r.Context(), r.FormValue("user"), map[string]any{"role": "nurse"})
	answer(w, nil, err)
}

func logout(w http.ResponseWriter, r *http.Request) {
	answer(w, nil, session.ClearAuthentication(r.Context()))
}

func me(w http.ResponseWriter, r *http.Request) {
	s := session.From(r.Context())
	role, _ := session.Get[string](s, "role")
	answer(w, struct {
		User string `json:"user"`
		Role string `json:"role"`
	}{s.UserID(), role}, nil)
}

// Handler is the service.
func Handler(pool *pgpool.Pool, cache *rediscache.Cache, sessions *session.Manager, checks *health.Checker) http.Handler {
	s := New(pool, cache)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", login)
	mux.HandleFunc("POST /logout", logout)
	mux.Handle("GET /me", session.RequireAuthenticated(http.HandlerFunc(me)))
	mux.Handle("GET /patients/{id}", session.RequireAuthenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := s.Patient(r.Context(), r.PathValue("id"))
		answer(w, p, err)
	})))
	mux.Handle("POST /patients/{id}/visits", session.RequireAuthenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visit, err := s.Book(r.Context(), r.PathValue("id"), r.FormValue("reason"))
		answer(w, map[string]any{"visit": visit}, err)
	})))
	mux.Handle("/api/health/", health.Handler(checks))
	return session.Middleware(sessions)(mux)
}

// Checks are what /ready asked, asked in the background.
func Checks(pool *pgpool.Pool, cache *rediscache.Cache) (*health.Checker, error) {
	checks, err := health.New(health.Config{})
	if err != nil {
		return nil, err
	}
	checks.Add("postgres", pool.Ping)
	checks.Add("redis", cache.Ping, health.Optional())
	return checks, nil
}

// Group starts everything in order and stops it in the other, at SIGTERM.
func Group(pool *pgpool.Pool, cache *rediscache.Cache, sessions *session.Manager, checks *health.Checker, server *lifecycle.HTTPServer) (*lifecycle.Group, error) {
	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithSignals(), lifecycle.WithDrain(5*time.Second, checks.SetDraining))
	if err != nil {
		return nil, err
	}
	g.Add("postgres", pool)
	g.Add("redis", cache)
	g.Add("sessions", sessions)
	g.Add("health", checks)
	g.Add("http", server)
	return g, nil
}

func answer(w http.ResponseWriter, v any, err error) {
	switch {
	case errors.Is(err, pgpool.ErrNotFound):
		http.Error(w, "not found", http.StatusNotFound)
	case err != nil:
		http.Error(w, "something went wrong", http.StatusInternalServerError)
	case v == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
}
