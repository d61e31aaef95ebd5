// Command quickstart is the smallest complete host: the program of the README.
//
//	go run ./examples/quickstart
//
// It runs with nothing configured. Where DATABASE_URL or REDIS_URL is missing
// it starts a private server, if one is installed; and without any it runs all
// the same, with sessions and cache in memory, and says so at /api/health.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

func main() {
	stop := startServers() // for development: delete this line where the servers are there
	defer stop()
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func run(ctx context.Context) error {
	dbCfg, err1 := pgpool.ConfigFromEnv()
	rdCfg, err2 := rediscache.ConfigFromEnv()
	snCfg, err3 := session.ConfigFromEnv()
	if err := errors.Join(err1, err2, err3); err != nil { // everything that is wrong, at once
		return err
	}
	pool, err1 := pgpool.New(dbCfg)
	cache, err2 := rediscache.New(rdCfg)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	sessions, err1 := session.New(cache.Redis(), snCfg)
	checks, err2 := health.New(health.Config{})
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	checks.Add("postgres", pool.Ping, health.Details(func() any { return pool.Stats() }))
	checks.Add("redis", cache.Ping, health.Optional())

	mux := http.NewServeMux()
	mux.Handle("/api/health/", health.Handler(checks))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		visits, _ := session.Get[int](session.From(r.Context()), "visits")
		_ = session.Set(session.From(r.Context()), "visits", visits+1)
		fmt.Fprintf(w, "You were here %d times before.\n", visits)
	})

	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithSignals(), lifecycle.WithDrain(time.Second, checks.SetDraining))
	if err != nil {
		return err
	}
	g.Add("postgres", pool, lifecycle.Optional(), lifecycle.StartTimeout(2*time.Second))
	g.Add("redis", cache)
	g.Add("sessions", sessions, lifecycle.After("redis"))
	g.Add("health", checks)
	addr := cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080")
	g.Add("http", lifecycle.Server(&http.Server{Addr: addr, Handler: session.Middleware(sessions)(mux)}))
	return g.Run(ctx)
}
