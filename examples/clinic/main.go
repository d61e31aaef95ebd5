// Command clinic is a whole service on pedro's five packages: patients and
// their appointments, as pages and as JSON. It is meant to be copied.
//
//	make run                     from the root of the repository, with servers of its own
//	go run ./examples/clinic     with DATABASE_URL, REDIS_URL and SESSION_SECRET set
//
// The layout: main.go wires; internal/clinic is what the service is about and
// knows no HTTP; internal/api and internal/pages speak HTTP and know no SQL;
// internal/schema has the migrations.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/kelseyhightower/envconfig"

	"github.com/pedro-go/pedro/examples/clinic/internal/api"
	"github.com/pedro-go/pedro/examples/clinic/internal/clinic"
	"github.com/pedro-go/pedro/examples/clinic/internal/pages"
	"github.com/pedro-go/pedro/examples/clinic/internal/schema"
	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

// config is what the clinic itself can be told. The packages read the rest.
type config struct {
	Addr         string        `envconfig:"ADDR" default:"127.0.0.1:8080"`
	DrainDelay   time.Duration `envconfig:"DRAIN_DELAY" default:"5s"`
	User         string        `envconfig:"CLINIC_USER" default:"reception"`
	UserPassword string        `envconfig:"CLINIC_PASSWORD"`
}

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var cfg config
	err1 := envconfig.Process("", &cfg)
	dbCfg, err2 := pgpool.ConfigFromEnv()
	rdCfg, err3 := rediscache.ConfigFromEnv()
	snCfg, err4 := session.ConfigFromEnv()
	if err := errors.Join(err1, err2, err3, err4); err != nil { // everything that is wrong, at once
		return err
	}
	pool, err1 := pgpool.New(dbCfg)
	cache, err2 := rediscache.New(rdCfg)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	sessions, err1 := session.New(cache.Redis(), snCfg)
	checks, err2 := health.New(health.Config{Name: "clinic", Interval: 500 * time.Millisecond})
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	addChecks(checks, pool, cache, sessions)

	service := clinic.New(pool, cache)
	g, err := lifecycle.New(lifecycle.Config{},
		lifecycle.WithSignals(),
		lifecycle.WithSystemd(checks.Alive),
		lifecycle.WithDrain(cfg.DrainDelay, checks.SetDraining))
	if err != nil {
		return err
	}
	g.Add("postgres", pool)
	g.Add("schema", lifecycle.Funcs{OnStart: func(ctx context.Context) error { return prepare(ctx, pool, service, cfg) }})
	g.Add("redis", cache, lifecycle.After())
	g.Add("sessions", sessions, lifecycle.After("redis"))
	g.Add("health", checks, lifecycle.After("schema", "sessions"))
	g.Add("http", lifecycle.Server(&http.Server{Addr: cfg.Addr, Handler: handler(service, sessions, checks, cfg)}))
	return g.Run(ctx)
}

// handler puts the parts together. From the outside in: the session, then the
// protection from forged requests, then what the path says.
func handler(s *clinic.Service, sessions *session.Manager, checks *health.Checker, cfg config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/health/", health.Handler(checks, health.WithLevel(func(r *http.Request) health.Level {
		if session.IsAuthenticated(r.Context()) { // a probe has no cookie, and costs no lookup
			return health.LevelEverything
		}
		return health.LevelStates
	})))
	mux.Handle("/api/", api.Handler(s))
	mux.Handle("/", pages.Handler(s, sessions, hint(cfg)))
	return session.Middleware(sessions)(http.NewCrossOriginProtection().Handler(mux))
}

func addChecks(checks *health.Checker, pool *pgpool.Pool, cache *rediscache.Cache, sessions *session.Manager) {
	checks.Add("postgres", health.Pool(pool.Ping, func() (inUse, limit, waiting int) {
		s := pool.Stats()
		return int(s.AcquiredConns), int(s.MaxConns), int(s.Waiting)
	}), health.Details(func() any { return pool.Stats() }), health.Advise(pool.Advice))
	checks.Add("redis", cache.Ping, health.Optional())
	// Its numbers cost nothing, so they are those of the moment when somebody asks.
	checks.Add("cache", nil, health.OnDemand(time.Millisecond), health.Details(func() any { return cache.Stats() }), health.Advise(cache.Advice))
	checks.Add("sessions", health.Fallback(func() time.Time { return sessions.Stats().FallbackSince }),
		health.Optional(), health.Details(func() any { return sessions.Stats() }), health.Advise(sessions.Advice))
	checks.Add("process", nil, health.OnDemand(time.Second), health.Gauges(processGauges))
}

func processGauges() []health.Gauge {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return []health.Gauge{
		{Name: "goroutines", Value: float64(runtime.NumGoroutine())},
		{Name: "heap", Value: float64(m.HeapAlloc) / (1 << 20), Unit: "MiB"},
	}
}

// prepare brings the schema up to date and makes sure that somebody can log in.
func prepare(ctx context.Context, pool *pgpool.Pool, s *clinic.Service, cfg config) error {
	if err := schema.Migrate(ctx, pool); err != nil {
		return err
	}
	if cfg.UserPassword == "" {
		slog.WarnContext(ctx, "no CLINIC_PASSWORD: anybody can log in with the one on the login page")
	}
	return s.SetPassword(ctx, cfg.User, password(cfg))
}

// password is the one of the demonstration unless there is another.
func password(cfg config) string {
	if cfg.UserPassword == "" {
		return "demo"
	}
	return cfg.UserPassword
}

func hint(cfg config) string {
	if cfg.UserPassword == "" {
		return fmt.Sprintf("This is a demonstration: log in as %s, with the password %s.", cfg.User, password(cfg))
	}
	return ""
}
