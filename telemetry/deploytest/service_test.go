package deploytest_test

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
	"github.com/pedro-go/pedro/telemetry"
	"github.com/pedro-go/pedro/telemetry/internal/host"
	"github.com/pedro-go/pedro/telemetry/prom"
)

func TestMain(m *testing.M) {
	status := m.Run()
	_ = pgpooltest.Close()
	os.Exit(status)
}

// service is a running host, the servers that it stands on, and traffic.
type service struct {
	*host.Host

	server            *httptest.Server
	postgres, replica *devservices.Postgres
	redis             *devservices.Redis
	prometheus        *prometheus
}

const conns = 4

// startService starts it all; databaseURL says how it reaches PostgreSQL.
func startService(t *testing.T, databaseURL func(*devservices.Postgres) string) *service {
	t.Helper()
	program(t, "prometheus", getPrometheus) // before anything is started in vain
	s := &service{postgres: pgpooltest.StartServer(t), redis: rediscachetest.StartServer(t)}
	s.replica = pgpooltest.StartReplica(t, s.postgres)
	metrics, err := prom.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tel, err := telemetry.New(telemetry.Config{MeterProvider: metrics.Provider()})
	if err != nil {
		t.Fatal(err)
	}
	s.Host, err = host.New(host.Config{
		DB:       pgpool.Config{URL: databaseURL(s.postgres), ReplicaURLs: []string{s.replica.URL()}, MaxConns: conns, ConnectTimeout: 2 * time.Second},
		Redis:    rediscache.Config{URL: s.redis.URL()},
		Sessions: session.Config{Secrets: []string{strings.Repeat("0123456789abcdef", 2)}},
	}, tel, metrics)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Group.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Group.Stop(ctx) // after faults there may be something to complain about
	})
	s.server = httptest.NewServer(s.Handler)
	t.Cleanup(s.server.Close)
	s.prometheus = startPrometheus(t, s.server.Listener.Addr().String())
	s.keep(t, s.ordinary())
	return s
}

// call is one request; its outcome is for the metrics.
func (s *service) call(ctx context.Context, client *http.Client, method, path string, header ...string) {
	req, err := http.NewRequestWithContext(ctx, method, s.server.URL+path, nil)
	if err != nil {
		return
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if resp, err := client.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}

// ordinary is a user who does everything in turn, and makes new connections
// necessary now and then.
func (s *service) ordinary() func(ctx context.Context, n int) {
	jar, _ := cookiejar.New(nil)
	user := &http.Client{Jar: jar, Timeout: 5 * time.Second}
	return func(ctx context.Context, n int) {
		id := strconv.Itoa(n%100 + 1)
		s.call(ctx, user, http.MethodGet, "/slots/"+id)
		s.call(ctx, user, http.MethodPost, "/slots/"+id+"/book")
		s.call(ctx, user, http.MethodGet, "/visits")
		if n%20 == 0 {
			s.call(ctx, user, http.MethodPost, "/logout")
			s.call(ctx, user, http.MethodPost, "/login")
			s.Cache.Redis().Get(ctx, "nothing")
		}
		if n%50 == 10 {
			go s.call(ctx, http.DefaultClient, http.MethodGet, "/sleep/0.05")
			s.call(ctx, http.DefaultClient, http.MethodGet, "/sleep/0.05")
		}
	}
}

// keep repeats f about fifty times a second until the function that it returns
// is called, or the test ends.
func (s *service) keep(t *testing.T, f func(ctx context.Context, n int)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
				f(ctx, n)
			case <-ctx.Done():
				return
			}
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}
