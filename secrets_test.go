package pedro_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// canary is in every planted secret, and nowhere else.
const canary = "c4n4ry"

var showsCanary = regexp.MustCompile(canary + `[\w-]*`)

// output is everything that anybody could read, by where it was seen.
type output struct {
	mu   sync.Mutex
	seen map[string]*bytes.Buffer
}

func (o *output) to(where string) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.seen[where] == nil {
			o.seen[where] = new(bytes.Buffer)
		}
		return o.seen[where].Write(p)
	})
}

func (o *output) add(where string, values ...any) {
	for _, v := range values {
		fmt.Fprintf(o.to(where), "%v\n", v)
	}
}

// every writes v in each form that a program may print it in.
func (o *output) every(where string, v any) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(o.to(where+" as "+verb), verb, v)
	}
	slog.New(slog.NewTextHandler(o.to(where+" in a text log"), nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(o.to(where+" in a JSON log"), nil)).Info("x", "v", v)
	if data, err := json.Marshal(v); err == nil {
		o.add(where+" as JSON", string(data))
	}
}

// check fails the test for each place that shows a secret, and if there was
// nothing to look at.
func (o *output) check(t *testing.T, places int) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, where := range slices.Sorted(maps.Keys(o.seen)) {
		if found := showsCanary.FindAllString(o.seen[where].String(), 3); found != nil {
			t.Errorf("%s shows %q", where, found)
		}
	}
	if len(o.seen) < places {
		t.Errorf("looked at %d places, want %d or more", len(o.seen), places)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestSecretsArePrintedNowhere prints everything that holds a secret, in every
// form.
func TestSecretsArePrintedNowhere(t *testing.T) {
	t.Parallel()
	out := &output{seen: map[string]*bytes.Buffer{}}
	dbCfg := pgpool.Config{
		URL: "postgres://u:" + canary + "-url@127.0.0.1:1/db?password=" + canary + "-query", SupabasePassword: canary + "-supabase", SupabaseServiceKey: canary + "-key",
		ReplicaURLs: []string{"host=127.0.0.1 password=" + canary + "-replica"},
	}
	rdCfg := rediscache.Config{URL: "redis://u:" + canary + "-redis@127.0.0.1:1/0", Password: canary + "-password", SentinelPassword: canary + "-sentinel"}
	snCfg := session.Config{Secrets: []string{canary + "-secret-8f2b64c0a9d35e17", canary + "-old"}}
	pool, err1 := pgpool.New(dbCfg)
	cache, err2 := rediscache.New(rdCfg)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	sessions, err1 := session.New(cache.Redis(), snCfg)
	checks, err2 := health.New(health.Config{})
	group, err3 := lifecycle.New(lifecycle.Config{})
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	checks.Add("postgres", pool.Ping)
	group.Add("postgres", pool)
	type host struct {
		DB       pgpool.Config
		Redis    *rediscache.Config
		Sessions []session.Config
	}
	for where, v := range map[string]any{
		"pgpool.Config": dbCfg, "*pgpool.Config": &dbCfg, "effective pgpool.Config": pool.Config(), "pgpool.Pool": pool, "pgpool.Stats": pool.Stats(),
		"rediscache.Config": rdCfg, "*rediscache.Config": &rdCfg, "effective rediscache.Config": cache.Config(), "rediscache.Cache": cache, "rediscache.Stats": cache.Stats(),
		"rediscache.Namespace": rediscache.Of[string](cache, "user"),
		"session.Config":       snCfg, "*session.Config": &snCfg, "effective session.Config": sessions.Config(), "session.Manager": sessions, "session.Stats": sessions.Stats(),
		"health.Checker": checks, "lifecycle.Group": group, "a host's struct": host{dbCfg, &rdCfg, []session.Config{snCfg}}, "a host's *struct": &host{DB: dbCfg},
	} {
		out.every(where, v)
	}
	for _, c := range []lifecycle.Component{pool, cache, sessions, checks, group} {
		if err := c.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	out.check(t, 100)
}

// TestSecretsStayInside plants secrets wherever one can be while everything is
// used and fails, and looks for them in all that comes out: logs, errors,
// events, reports, health pages. Not looked at is what the host itself gave
// away: the text of its own panics and errors in its own log.
func TestSecretsStayInside(t *testing.T) {
	out := &output{seen: map[string]*bytes.Buffer{}}
	logger := slog.New(slog.NewJSONHandler(out.to("log"), &slog.HandlerOptions{Level: slog.LevelDebug}))
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(out.to("default log"), &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(before) })
	redis.SetLogger(printfTo{out.to("go-redis")}) // the process has one, and it stays
	pg := pgpooltest.StartServer(t)
	rd := rediscachetest.StartServer(t, devservices.WithPassword(canary+"-redis"))

	checks, err := health.New(health.Config{Interval: 50 * time.Millisecond}, health.WithLogger(logger))
	if err != nil {
		t.Fatal(err)
	}
	leakDatabase(t, out, logger, pg, checks)
	leakCache(t, out, logger, rd, checks)
	leakSessions(t, out, logger, rd)
	leakHealth(t, out, logger, checks)
	out.check(t, 40)
}

// printfTo is a logger of go-redis.
type printfTo struct{ w io.Writer }

func (p printfTo) Printf(_ context.Context, format string, v ...any) {
	fmt.Fprintf(p.w, format+"\n", v...)
}

// leakDatabase gives pgpool secrets and makes it fail.
func leakDatabase(t *testing.T, out *output, logger *slog.Logger, pg *devservices.Postgres, checks *health.Checker) {
	t.Helper()
	ctx := t.Context()
	admin := startPool(t, pgpool.Config{URL: pg.URL()})
	if _, err := admin.Exec(ctx, "CREATE ROLE app LOGIN PASSWORD '"+canary+"-pg'; CREATE TABLE t (email text UNIQUE); GRANT ALL ON t TO app"); err != nil {
		t.Fatal(err)
	}
	address := "@" + pg.Addr() + "/postgres?sslmode=disable"
	pool := startPool(t, pgpool.Config{URL: "postgres://app:" + canary + "-pg" + address, MaxConns: 1, ConnectTimeout: 200 * time.Millisecond, SlowQuery: time.Millisecond},
		pgpool.WithLogger(logger), pgpool.WithLeakDetection(time.Millisecond),
		pgpool.WithSlowQuery(func(q pgpool.SlowQuery) { out.every("pgpool.SlowQuery", q) }))
	rotating := startPool(t, pgpool.Config{URL: "postgres://app" + address}, pgpool.WithLogger(logger),
		pgpool.WithPassword(func(context.Context) (string, error) { return canary + "-pg", nil }))
	out.every("pgpool.Pool with WithPassword", rotating)

	secret := canary + "-argument"
	_, _ = pool.Exec(ctx, "SELECT pg_sleep(0.05), $1::text", secret)
	_, _ = pool.Exec(ctx, "INSERT INTO t VALUES ($1)", secret)
	_, err := pool.Exec(ctx, "INSERT INTO t VALUES ($1)", secret)
	out.add("pgpool: unique violation", err)
	_, err = pgpool.BatchInsert(ctx, pool, "t", []struct{ Email string }{{secret}})
	out.add("pgpool: batch", err)
	_, err = pgpool.Get[string](ctx, pool, "SELECT email FROM t WHERE email = $1 AND false", secret)
	out.add("pgpool: not found", err)
	_, err = pgpool.Get[int](ctx, pool, "SELECT email FROM t WHERE email = $1", secret)
	out.add("pgpool: wrong type", err)
	outside := ctx
	err = pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_sleep(0.02), $1::text", secret); err != nil {
			return err
		}
		_, err := pool.Exec(outside, "SELECT $1::text", secret) // a second connection, of a pool of one
		out.every("pgpool: exhausted", err)
		running, err := admin.LongRunning(ctx, 0)
		out.every("pgpool.RunningQuery", running)
		return err
	})
	out.add("pgpool: transaction", err)
	out.every("pgpool.Stats", pool.Stats())
	out.add("pgpool: advice", pool.Advice())

	wrong, err := pgpool.New(pgpool.Config{URL: "postgres://app:" + canary + "-wrong" + address, ConnectTimeout: 200 * time.Millisecond}, pgpool.WithLogger(logger))
	if err != nil {
		t.Fatal(err)
	}
	limited, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	out.every("pgpool: wrong password", wrong.Start(limited))
	checks.Add("wrong", wrong.Ping, health.Details(func() any { return wrong.Stats() }))
	checks.Add("postgres", pool.Ping, health.Details(func() any { return pool.Stats() }))
	t.Cleanup(func() { stop(t, wrong) })

	group, err := lifecycle.New(lifecycle.Config{StartTimeout: 300 * time.Millisecond}, lifecycle.WithLogger(logger))
	if err != nil {
		t.Fatal(err)
	}
	group.Add("postgres", wrong)
	out.every("lifecycle: start", group.Run(ctx))
	out.every("lifecycle: reports", group.Report())
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	_, err = pool.Exec(ctx, "SELECT $1::text", secret)
	out.every("pgpool: killed", err)
}

func startPool(t *testing.T, cfg pgpool.Config, opts ...pgpool.Option) *pgpool.Pool {
	t.Helper()
	pool, err := pgpool.New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, pool) })
	if err := pool.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return pool
}

// stop does not wait for servers that were killed.
func stop(t *testing.T, c lifecycle.Component) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Stop(ctx)
}

// leakCache is the same for rediscache.
func leakCache(t *testing.T, out *output, logger *slog.Logger, rd *devservices.Redis, checks *health.Checker) {
	t.Helper()
	ctx := t.Context()
	cache := startCache(t, rediscache.Config{URL: rd.URL(), MaxValueBytes: 1000}, rediscache.WithLogger(logger),
		rediscache.WithStateObserver(func(_ rediscache.State, cause error) { out.add("rediscache: state", cause) }))
	users := rediscache.Of[string](cache, "user", rediscache.Near(10))
	numbers := rediscache.Of[int](cache, "user")
	secret := canary + "-value"
	out.add("rediscache: set", users.Set(ctx, "a", secret), cache.Set(ctx, "b", secret, 0))
	out.add("rediscache: too large", users.Set(ctx, "c", strings.Repeat(secret, 200)))
	_, err := numbers.Get(ctx, "a")
	out.add("rediscache: wrong type", err, cache.Get(ctx, "b", new(int)))
	out.add("rediscache: no JSON", cache.Set(ctx, "d", func() {}, 0))
	_, err = users.Load(ctx, "e", func(context.Context, string) (string, error) { return secret, errors.New("loader failed") })
	out.add("rediscache: loader", err)
	out.every("rediscache.Namespace", users)
	out.every("rediscache.Cache", cache)
	out.every("rediscache.Stats", cache.Stats())
	out.add("rediscache: advice", cache.Advice())
	checks.Add("redis", cache.Ping, health.Details(func() any { return cache.Stats() }))

	for where, cfg := range map[string]rediscache.Config{
		"rediscache: wrong password": {URL: "redis://:" + canary + "-wrong@" + rd.Addr(), Required: true},
		"rediscache: nobody there":   {URL: "redis://:" + canary + "-wrong@127.0.0.1:1", Required: true},
	} {
		wrong, err := rediscache.New(cfg, rediscache.WithLogger(logger))
		if err != nil {
			t.Fatal(err)
		}
		limited, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		out.every(where, wrong.Start(limited))
		cancel()
		out.every(where+", ping", wrong.Ping(ctx))
		out.every(where+", stats", wrong.Stats())
		checks.Add(where, wrong.Ping)
		t.Cleanup(func() { stop(t, wrong) })
	}
	rotating := startCache(t, rediscache.Config{URL: "redis://" + rd.Addr(), Required: true}, rediscache.WithLogger(logger),
		rediscache.WithCredentials(func(context.Context) (string, string, error) { return "", canary + "-redis", nil }))
	out.every("rediscache.Cache with WithCredentials", rotating)
}

func startCache(t *testing.T, cfg rediscache.Config, opts ...rediscache.Option) *rediscache.Cache {
	t.Helper()
	cache, err := rediscache.New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, cache) })
	if err := cache.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return cache
}

// leakSessions is the same for session, before and after Redis is killed.
func leakSessions(t *testing.T, out *output, logger *slog.Logger, rd *devservices.Redis) {
	t.Helper()
	opts, err := redis.ParseURL(rd.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	t.Cleanup(func() { _ = client.Close() })
	m, err := session.New(client, session.Config{Secrets: []string{canary + "-8f2b64c0a9d35e17f4c86b20d9e1573a"}, MaxBytes: 1000}, session.WithLogger(logger),
		session.WithObserver(func(e session.Event) { out.every("session.Event", e) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, m) })
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := session.Middleware(m)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		out.every("session.Session", s)
		switch r.URL.Path {
		case "/login":
			if err := session.SetAuthenticated(r.Context(), "ada", map[string]any{"data": canary + "-data"}); err != nil {
				out.add("session: login", err)
			}
		case "/large":
			out.add("session: too large", session.Set(s, "novel", strings.Repeat(canary+"-novel", 100)))
		case "/wrong":
			_, ok := session.Get[int](s, "data")
			out.add("session: wrong type", ok, s.Err(), session.Set(s, "f", func() {}))
		case "/panic":
			_ = session.Set(s, "more", canary+"-more")
			panic("boom")
		default:
			session.RequireAuthenticated(http.NotFoundHandler()).ServeHTTP(w, r)
		}
		list, err := m.Sessions(r.Context(), "ada")
		out.every("session.Info", list)
		out.add("session: list", err)
	}))
	cookie := "pedro.sid=" + canary + "-forged"
	visit := func(path string) {
		r := httptest.NewRequest(http.MethodGet, path+"?q=1", http.NoBody)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		func() {
			defer func() { out.add("session: panic", recover()) }()
			h.ServeHTTP(w, r)
		}()
		out.add("session: body", w.Body)
		if set := w.Result().Cookies(); len(set) > 0 && set[0].MaxAge >= 0 {
			cookie = set[0].Name + "=" + set[0].Value
		}
	}
	visit("/")
	for _, path := range []string{"/login", "/", "/large", "/wrong", "/panic"} {
		visit(path)
	}
	if err := rd.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/login", "/large", "/panic"} {
		visit(path)
	}
	out.every("session.Manager", m)
	out.every("session.Stats", m.Stats())
	out.add("session: advice", m.Advice())
	_, value, _ := strings.Cut(cookie, "=")
	out.mu.Lock()
	defer out.mu.Unlock()
	if len(value) < 60 {
		t.Fatalf("the cookie is %q", value)
	}
	for where, text := range out.seen {
		if strings.Contains(text.String(), value[:20]) {
			t.Errorf("%s shows the cookie", where)
		}
	}
}

// leakHealth asks for every page with less than all rights, with checks of the
// host's that give away what they can.
func leakHealth(t *testing.T, out *output, logger *slog.Logger, checks *health.Checker) {
	t.Helper()
	own, err := health.New(health.Config{Name: canary + "-name", Version: canary + "-version"}, health.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	own.Add("a", func(context.Context) error { return errors.New("dial postgres://u:" + canary + "-check@h/db") },
		health.Details(func() any { return canary + "-details" }), health.Advise(func() []string { return []string{canary + "-advice"} }))
	own.Add("b", func(context.Context) error { panic(canary + "-panic") }, health.Optional())
	for name, c := range map[string]*health.Checker{"ours": checks, "the host's": own} {
		if err := c.Start(t.Context()); err != nil {
			logger.Error("health", "error", err)
		}
		t.Cleanup(func() { stop(t, c) })
		for _, level := range []health.Level{health.LevelNothing, health.LevelStates, health.LevelEverything} {
			if level == health.LevelEverything && c == own {
				continue // the host asked for it
			}
			h := health.Handler(c, health.WithLevel(func(*http.Request) health.Level { return level }))
			for _, path := range []string{"/", "/live", "/ready", "/startup", "/detailed", "/ready/a", "/ready/postgres"} {
				for _, accept := range []string{"", "text/html", "text/plain", "application/health+json"} {
					r := httptest.NewRequest(http.MethodGet, path+"?verbose", http.NoBody)
					r.Header.Set("Accept", accept)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					out.add(fmt.Sprintf("health of %s at level %v", name, level), w.Body, w.Header())
				}
			}
		}
	}
}
