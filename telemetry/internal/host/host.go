// Package host is a small service with all five packages and telemetry, for the
// tests of metrics, dashboards and alerts. It is wired as docs/telemetry.md says.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
	"github.com/pedro-go/pedro/telemetry"
)

// Config is what the packages are told.
type Config struct {
	DB       pgpool.Config
	Redis    rediscache.Config
	Sessions session.Config
}

// Host is a service that is ready to run.
type Host struct {
	Handler http.Handler
	Group   *lifecycle.Group
	Pool    *pgpool.Pool
	Cache   *rediscache.Cache

	// Break ends the background task, which is optional, with an error.
	Break func()

	slots *rediscache.Namespace[int]
}

// New makes a Host. metrics is served at /metrics unless it is nil.
func New(cfg Config, t *telemetry.Telemetry, metrics http.Handler) (*Host, error) {
	log := slog.New(slog.DiscardHandler) // the tests look at metrics
	pool, err1 := pgpool.New(cfg.DB, t.Pool())
	cache, err2 := rediscache.New(cfg.Redis, t.Cache(), rediscache.WithLogger(log))
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	sessions, err1 := session.New(cache.Redis(), cfg.Sessions, session.WithLogger(log))
	checks, err2 := health.New(health.Config{Interval: 200 * time.Millisecond, FailingInterval: 100 * time.Millisecond}, health.WithLogger(log))
	group, err3 := lifecycle.New(lifecycle.Config{}, lifecycle.WithDrain(0, nil), lifecycle.WithLogger(log))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	checks.Add("postgres", pool.Ping)
	checks.Add("redis", cache.Ping, health.Optional())

	group.Add("postgres", pool)
	group.Add("schema", lifecycle.Funcs{OnStart: func(ctx context.Context) error {
		_, err1 := pool.Exec(ctx, "create table if not exists slots (id int primary key, free int not null)")
		_, err2 := pool.Exec(ctx, "insert into slots select i, i from generate_series(1, 100) i on conflict do nothing")
		return errors.Join(err1, err2)
	}})
	group.Add("redis", cache, lifecycle.After())
	group.Add("sessions", sessions, lifecycle.After("redis"))
	group.Add("health", checks)
	broken := make(chan struct{})
	group.Go("mailer", func(ctx context.Context) error {
		select {
		case <-broken:
			return errors.New("broken")
		case <-ctx.Done():
			return nil
		}
	}, lifecycle.Optional())
	if err := t.Watch(telemetry.Sources{Pool: pool, Cache: cache, Sessions: sessions, Checks: checks, Group: group}); err != nil {
		return nil, err
	}

	h := &Host{Group: group, Pool: pool, Cache: cache, Break: func() { close(broken) }, slots: rediscache.Of[int](cache, "slot", rediscache.Near(1000), rediscache.TTL(time.Minute))}
	mux := http.NewServeMux()
	mux.Handle("/api/health/", health.Handler(checks))
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	mux.HandleFunc("GET /slots/{id}", h.slot)
	mux.HandleFunc("POST /slots/{id}/book", h.book)
	mux.HandleFunc("POST /login", h.login)
	mux.HandleFunc("POST /logout", h.logout)
	mux.HandleFunc("GET /visits", h.visits)
	mux.HandleFunc("GET /sleep/{seconds}", h.sleep)
	mux.HandleFunc("GET /wait", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(1200 * time.Millisecond):
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /fail", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "failed", http.StatusInternalServerError) })
	h.Handler = t.HTTP(session.Middleware(sessions)(telemetry.Route(mux)))
	return h, nil
}

func (h *Host) slot(w http.ResponseWriter, r *http.Request) {
	free, err := h.slots.Load(r.Context(), r.PathValue("id"), func(ctx context.Context, id string) (int, error) {
		return pgpool.Get[int](ctx, h.Pool, "select free from slots where id = $1::text::int", id)
	})
	reply(w, free, err)
}

func (h *Host) book(w http.ResponseWriter, r *http.Request) {
	free, err := pgpool.Transaction(r.Context(), h.Pool, func(ctx context.Context, tx pgx.Tx) (int, error) {
		pgpool.AfterCommit(ctx, func(ctx context.Context) { _ = h.slots.Del(ctx, r.PathValue("id")) })
		return pgpool.Get[int](ctx, tx, "update slots set free = free - 1 where id = $1::text::int returning free", r.PathValue("id"))
	})
	reply(w, free, err)
}

func (h *Host) login(w http.ResponseWriter, r *http.Request) {
	reply(w, "in", session.SetAuthenticated(r.Context(), "nurse", nil))
}

func (h *Host) logout(w http.ResponseWriter, r *http.Request) {
	reply(w, "out", session.ClearAuthentication(r.Context()))
}

func (h *Host) visits(w http.ResponseWriter, r *http.Request) {
	s := session.From(r.Context())
	n, _ := session.Get[int](s, "visits")
	reply(w, n+1, session.Set(s, "visits", n+1))
}

func (h *Host) sleep(w http.ResponseWriter, r *http.Request) {
	_, err := h.Pool.Exec(r.Context(), "select pg_sleep($1::text::float8)", r.PathValue("seconds"))
	reply(w, "slept", err)
}

func reply(w http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(w, "no", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, value)
}
