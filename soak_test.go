package pedro_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// soakCycles is the short form; PEDRO_SOAK=5m is the long one.
const soakCycles = 150

// TestSoak opens, uses and stops all packages together again and again, and
// shows that goroutines, descriptors, memory and the servers' connections are
// back where they were.
func TestSoak(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("PEDRO_SOAK"))
	if v := os.Getenv("PEDRO_SOAK"); v != "" && err != nil {
		t.Fatalf("PEDRO_SOAK: %v", err)
	}
	pg, rd := pgpooltest.StartServer(t), rediscachetest.StartServer(t)
	s := &soak{
		db:      pgpool.Config{URL: pg.URL(), MaxConns: 4, MinConns: 1, AppName: "soak"},
		redis:   rediscache.Config{URL: rd.URL(), Required: true, AppName: "soak", Timeout: 5 * time.Second},
		session: session.Config{Secrets: []string{"8f2b64c0a9d35e17f4c86b20d9e1573a"}, Timeout: 5 * time.Second},
	}
	connections := func() int64 {
		admin := startPool(t, pgpool.Config{URL: pg.URL(), MaxConns: 1})
		defer stop(t, admin)
		n, err := pgpool.Get[int64](t.Context(), admin, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'soak'")
		if err != nil {
			t.Fatal(err)
		}
		list, err := rd.Do(t.Context(), "CLIENT", "LIST")
		if err != nil {
			t.Fatal(err)
		}
		text, _ := list.(string)
		for _, c := range text {
			if c == '\n' {
				n++
			}
		}
		return n
	}
	for range 10 { // what is made once: caches of types, buffers, the resolver
		s.cycle(t)
	}
	before, servers := measure(t), connections()
	began, n := time.Now(), 0
	for ; n < soakCycles && long == 0 || time.Since(began) < long; n++ {
		s.cycle(t)
		if t.Failed() {
			t.Fatalf("in cycle %d", n)
		}
	}
	after := measure(t)
	t.Logf("%d cycles in %v: before %+v, after %+v", n, time.Since(began).Round(time.Millisecond), before, after)
	if after.goroutines > before.goroutines+2 {
		t.Errorf("%d goroutines, before %d", after.goroutines, before.goroutines)
	}
	if after.descriptors > before.descriptors+2 {
		t.Errorf("%d descriptors, before %d", after.descriptors, before.descriptors)
	}
	// A cycle that kept 20 KB would show; the collector's own ups and downs do not.
	if allowed := before.heap + 2<<20 + uint64(n)*(1<<10); after.heap > allowed {
		t.Errorf("%d bytes of heap, before %d", after.heap, before.heap)
	}
	deadline := time.Now().Add(10 * time.Second)
	for connections() > servers {
		if time.Now().After(deadline) {
			t.Fatalf("the servers see %d connections, before %d", connections(), servers)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

type soak struct {
	db      pgpool.Config
	redis   rediscache.Config
	session session.Config
}

// cycle is the life of a host.
func (s *soak) cycle(t *testing.T) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	pool, err1 := pgpool.New(s.db, pgpool.WithLogger(quiet))
	cache, err2 := rediscache.New(s.redis, rediscache.WithLogger(quiet))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	sessions, err1 := session.New(cache.Redis(), s.session, session.WithLogger(quiet))
	checks, err2 := health.New(health.Config{}, health.WithLogger(quiet))
	group, err3 := lifecycle.New(lifecycle.Config{}, lifecycle.WithLogger(quiet))
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	checks.Add("postgres", pool.Ping, health.Details(func() any { return pool.Stats() }))
	checks.Add("redis", cache.Ping, health.Optional())
	users := rediscache.Of[string](cache, "user", rediscache.Near(10))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/health/", health.Handler(checks))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		name, err := users.Load(r.Context(), "1", func(ctx context.Context, _ string) (string, error) {
			return pgpool.Get[string](ctx, pool, "SELECT 'ada'::text")
		})
		if err == nil {
			err = session.SetAuthenticated(r.Context(), name, nil)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	})
	group.Add("postgres", pool)
	group.Add("redis", cache)
	group.Add("sessions", sessions, lifecycle.After("redis"))
	group.Add("health", checks)
	server := &http.Server{Handler: session.Middleware(sessions)(mux), ReadHeaderTimeout: time.Second}
	group.Add("http", lifecycle.Server(server, lifecycle.WithListener(listener)), lifecycle.After("postgres", "sessions"))
	if err := group.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	for _, path := range []string{"/", "/health/ready"} {
		res, err := client.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Error(err)
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("GET %s = %d", path, res.StatusCode)
		}
	}
	client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := group.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// usage is what a process holds.
type usage struct {
	goroutines, descriptors int
	heap                    uint64
}

func measure(t *testing.T) usage {
	t.Helper()
	// go-redis leaves a dialing goroutine up to a second after Close: the least
	// of a while is what stays.
	deadline := time.Now().Add(1500 * time.Millisecond)
	best := runtime.NumGoroutine()
	for time.Now().Before(deadline) {
		best = min(best, runtime.NumGoroutine())
		time.Sleep(20 * time.Millisecond)
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{goroutines: best, heap: m.HeapAlloc}
	if list, err := os.ReadDir("/proc/self/fd"); err == nil { // elsewhere goroutines will have to do
		u.descriptors = len(list)
	}
	return u
}
