package deploytest_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/internal/faultproxy"
)

// watcher notes which alerts fire.
type watcher struct {
	mu   sync.Mutex
	seen map[string]alert
}

func watch(t *testing.T, s *service) *watcher {
	t.Helper()
	w := &watcher{seen: map[string]alert{}}
	s.keep(t, func(ctx context.Context, _ int) {
		firing, err := s.prometheus.alerts(ctx, "firing")
		if err != nil {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		maps.Copy(w.seen, firing)
	})
	return w
}

// forget begins anew, except for what is in the background.
func (w *watcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.seen, func(name string, _ alert) bool { return !slices.Contains(background, name) })
}

func (w *watcher) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.seen))
}

var (
	// The cache looks at Redis' memory every ten seconds, so these are waited for
	// while other faults are on.
	background = []string{"PedroRedisMemory", "PedroRedisEvicts"}
	// A busy machine makes requests slow and scrapes late by itself.
	busy = []string{"PedroRequestsSlow", "PedroInstanceDown"}
)

// fault is something that goes wrong, and what has to be heard of it.
type fault struct {
	name    string
	fires   []string // all of these
	mayFire []string // its consequences, in a service this small
	begin   func(ctx context.Context) error
	end     func(ctx context.Context) error
}

// TestDashboardAndAlerts has a service run well, when no panel is empty and no
// alert fires, and then go wrong in every way that there is an alert for. The
// durations of the rules are shortened, see shortened.
func TestDashboardAndAlerts(t *testing.T) {
	t.Parallel()
	s := startService(t, (*devservices.Postgres).URL)
	w := watch(t, s)
	checkDashboard(t, s.prometheus)
	for _, name := range w.names() {
		if !slices.Contains(busy, name) {
			t.Errorf("in good order: the alert %s fires", name)
		}
	}

	tested := map[string]bool{"PedroCommitsUnknown": true} // by TestCommitsUnknown
	for _, f := range s.faults(t) {
		w.forget()
		began := time.Now()
		if err := f.begin(t.Context()); err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		eventually(t, 30*time.Second, f.name+": not all alerts fire", func() error {
			for _, name := range f.fires {
				tested[name] = true
				if !slices.Contains(w.names(), name) {
					return fmt.Errorf("got %q, want %q", w.names(), f.fires)
				}
			}
			return nil
		})
		heard := time.Since(began)
		for _, name := range w.names() {
			if !slices.Contains(slices.Concat(f.fires, f.mayFire, background, busy), name) {
				t.Errorf("%s: the alert %s fires, which is for something else", f.name, name)
			}
		}
		w.mu.Lock()
		for name, a := range w.seen {
			for key, text := range a.Annotations {
				if strings.Contains(text, "error expanding") || strings.Contains(text, "<no value>") || text == "" {
					t.Errorf("%s: %s of the alert is %q", name, key, text)
				}
			}
		}
		w.mu.Unlock()
		if f.end == nil {
			continue
		}
		if err := f.end(t.Context()); err != nil {
			t.Fatalf("after %s: %v", f.name, err)
		}
		eventually(t, 30*time.Second, "after "+f.name+": alerts go on", func() error {
			active, err := s.prometheus.alerts(t.Context(), "") // what is pending would fire in the next fault
			for name := range active {
				if !slices.Contains(background, name) && name != "PedroComponentFailed" {
					err = fmt.Errorf("%s", name)
				}
			}
			return err
		})
		t.Logf("%s: heard of after %v, over after %v", f.name, heard.Round(100*time.Millisecond), time.Since(began).Round(100*time.Millisecond))
	}
	rules, err := os.ReadFile(filepath.Join(deploy, "prometheus", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`alert: (\S+)`).FindAllStringSubmatch(string(rules), -1) {
		if !tested[m[1]] {
			t.Errorf("there is no fault for the alert %s", m[1])
		}
	}
}

func (s *service) faults(t *testing.T) []fault {
	t.Helper()
	var stop func()
	repeat := func(f func(ctx context.Context, n int)) func(context.Context) error {
		return func(context.Context) error {
			stop = s.keep(t, f)
			return nil
		}
	}
	ended := func(context.Context) error {
		stop()
		return nil
	}
	kill := func(server interface{ Kill() error }) func(context.Context) error {
		return func(context.Context) error { return server.Kill() }
	}
	return []fault{{
		name:  "handlers fail",
		fires: []string{"PedroRequestsFail"},
		begin: func(ctx context.Context) error {
			if err := s.fillRedis(ctx); err != nil { // for the alerts on its memory, which take longest
				return err
			}
			return repeat(func(ctx context.Context, _ int) { s.call(ctx, http.DefaultClient, http.MethodGet, "/fail") })(ctx)
		},
		end: ended,
	}, {
		name:  "handlers are slow",
		fires: []string{"PedroRequestsSlow"},
		begin: repeat(func(ctx context.Context, _ int) {
			s.together(10, func() { s.call(ctx, http.DefaultClient, http.MethodGet, "/wait") })
		}),
		end: ended,
	}, {
		name:    "more callers than connections",
		fires:   []string{"PedroPoolFull"},
		mayFire: []string{"PedroRequestsSlow", "PedroRequestsFail"},
		begin: repeat(func(ctx context.Context, _ int) {
			s.together(3*conns, func() { s.call(ctx, http.DefaultClient, http.MethodGet, "/sleep/0.5") })
		}),
		end: ended,
	}, {
		name:  "somebody guesses cookies",
		fires: []string{"PedroForgedCookies"},
		begin: repeat(func(ctx context.Context, n int) {
			s.call(ctx, http.DefaultClient, http.MethodGet, "/visits", "Cookie", fmt.Sprintf("pedro.sid=guess%d", n))
		}),
		end: ended,
	}, {
		name:  "the replica is killed",
		fires: []string{"PedroReplicaAway"},
		begin: kill(s.replica),
		end:   s.replica.Restart,
	}, {
		name:  "a background task fails",
		fires: []string{"PedroComponentFailed"},
		begin: func(context.Context) error {
			s.Break()
			return nil
		},
	}, {
		name:    "the memory of Redis is used up",
		fires:   []string{"PedroRedisMemory", "PedroRedisEvicts"},
		mayFire: []string{"PedroComponentFailed"},
		begin:   func(context.Context) error { return nil }, // since the first fault
	}, {
		name:    "Redis is killed",
		fires:   []string{"PedroRedisAway", "PedroSessionsInMemory"},
		mayFire: []string{"PedroComponentFailed"},
		begin:   kill(s.redis),
		end:     s.redis.Restart,
	}, {
		name:    "PostgreSQL is killed",
		fires:   []string{"PedroPostgresAway", "PedroNotReady"},
		mayFire: []string{"PedroComponentFailed", "PedroReplicaAway", "PedroRequestsFail", "PedroRequestsSlow", "PedroPoolFull"},
		begin:   kill(s.postgres),
		end:     s.postgres.Restart,
	}, {
		name:    "the service is gone",
		fires:   []string{"PedroInstanceDown"},
		mayFire: []string{"PedroComponentFailed", "PedroRequestsFail", "PedroRequestsSlow"},
		begin: func(context.Context) error {
			s.server.Close()
			return nil
		},
	}}
}

// together runs f n times at once.
func (*service) together(n int, f func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(f)
	}
	all.Wait()
}

// fillRedis leaves a megabyte and writes three.
func (s *service) fillRedis(ctx context.Context) error {
	for _, cmd := range [][]string{{"config", "set", "maxmemory", "4mb"}, {"config", "set", "maxmemory-policy", "allkeys-lru"}} {
		if _, err := s.redis.Do(ctx, cmd...); err != nil {
			return err
		}
	}
	for i := range 30 { // Redis evicts between two scripts, not within one
		const fill = "for i = 1, 20 do redis.call('set', 'fill:' .. ARGV[1] .. ':' .. i, string.rep('x', 10000)) end"
		if _, err := s.redis.Do(ctx, "eval", fill, "0", strconv.Itoa(i)); err != nil {
			return err
		}
	}
	return nil
}

// TestCommitsUnknown is the alert whose fault takes longest: the reply to a
// COMMIT is lost, and the server stays out of reach for longer than pgpool looks
// for the outcome, which is half a minute.
func TestCommitsUnknown(t *testing.T) {
	t.Parallel()
	var network *faultproxy.Proxy
	s := startService(t, func(server *devservices.Postgres) string {
		network = faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
		return network.URL(server.URL())
	})
	w := watch(t, s)
	network.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if !m.Completes("COMMIT") {
			return faultproxy.Pass
		}
		if err := network.Refuse(); err != nil {
			t.Error(err)
		}
		return faultproxy.Cut
	})
	s.call(t.Context(), http.DefaultClient, http.MethodPost, "/slots/1/book")
	eventually(t, 90*time.Second, "nobody hears of a commit whose outcome is unknown", func() error {
		if names := w.names(); !slices.Contains(names, "PedroCommitsUnknown") {
			return fmt.Errorf("got %q", names)
		}
		return nil
	})
	if n := s.Pool.Stats().CommitsUnknown; n == 0 {
		t.Error("the alert fires, and the pool knows of no such commit")
	}
}

// TestRulesAreValid has promtool read them.
func TestRulesAreValid(t *testing.T) {
	t.Parallel()
	exe := program(t, "promtool", getPrometheus)
	files, err := filepath.Glob(filepath.Join(deploy, "prometheus", "*.yml"))
	if err != nil || len(files) != 2 {
		t.Fatalf("got the files %q, %v, want two", files, err)
	}
	out, err := exec.CommandContext(t.Context(), exe, append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
