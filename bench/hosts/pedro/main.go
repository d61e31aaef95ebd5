// Command pedro is a host on the five packages, to be measured at its start.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	pool, err1 := pgpool.New(pgpool.Config{URL: os.Getenv("DATABASE_URL")})
	cache, err2 := rediscache.New(rediscache.Config{URL: os.Getenv("REDIS_URL"), Required: true})
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	sessions, err1 := session.New(cache.Redis(), session.Config{Secrets: []string{os.Getenv("SESSION_SECRET")}})
	checks, err2 := health.New(health.Config{})
	g, err3 := lifecycle.New(lifecycle.Config{}, lifecycle.WithSignals(), lifecycle.WithDrain(time.Nanosecond, checks.SetDraining))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	checks.Add("postgres", pool.Ping)
	checks.Add("redis", cache.Ping)
	mux := http.NewServeMux()
	mux.Handle("/health/", http.StripPrefix("/health", health.Handler(checks)))
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, session.From(r.Context()).UserID()) })
	server := lifecycle.Server(&http.Server{Addr: "127.0.0.1:0", Handler: session.Middleware(sessions)(mux)})

	g.Add("postgres", pool, lifecycle.After())
	g.Add("redis", cache, lifecycle.After())
	g.Add("sessions", sessions, lifecycle.After("redis"))
	g.Add("health", checks, lifecycle.After("postgres", "sessions"))
	g.Add("http", server)
	g.Add("ready", lifecycle.Funcs{OnStart: func(context.Context) error {
		_, err := fmt.Println(server.Addr())
		return err
	}})
	return g.Run(ctx)
}
