package rediscachetest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/leakcheck"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func dial(t *testing.T, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatalf("ParseURL: got error %v, want none", err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestServersAreIndependent(t *testing.T) {
	t.Parallel()
	a, b := dial(t, rediscachetest.Start(t)), dial(t, rediscachetest.Start(t))
	if err := a.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Exists(t.Context(), "k").Result(); err != nil || got != 0 {
		t.Errorf("a key of one server on the other: got %d, %v, want 0", got, err)
	}
	if err := b.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("a key after FLUSHALL on the other server: got %q, %v, want v", got, err)
	}
}

func TestSentinelAndClusterOfYourOwn(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("twelve servers; not with -short")
	}
	s := rediscachetest.StartSentinel(t)
	f := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.MasterName(), SentinelAddrs: s.Addrs()})
	defer f.Close()
	if err := f.Ping(t.Context()).Err(); err != nil {
		t.Errorf("PING through sentinels: got error %v, want none", err)
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: rediscachetest.StartCluster(t).Addrs()})
	defer c.Close()
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Errorf("SET in the cluster: got error %v, want none", err)
	}
}

func TestServerEndsWithItsTest(t *testing.T) { //nolint:tparallel // the end of the inner one is waited for
	t.Parallel()
	var url string
	t.Run("inner", func(t *testing.T) {
		s := rediscachetest.StartServer(t)
		url = s.URL()
		if err := s.Kill(); err != nil {
			t.Errorf("Kill: got error %v, want none", err)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Errorf("Restart: got error %v, want none", err)
		}
		if err := dial(t, url).Ping(t.Context()).Err(); err != nil {
			t.Errorf("PING: got error %v, want none", err)
		}
	})
	if err := dial(t, url).Ping(t.Context()).Err(); err == nil {
		t.Error("PING after the test: got an answer, want none")
	}
}

func TestAddressFromTheEnvironmentWins(t *testing.T) {
	t.Parallel()
	if os.Getenv("REDISCACHETEST_INNER") != "" {
		if got, want := rediscachetest.Start(t), os.Getenv("TEST_REDIS_URL"); got != want {
			t.Errorf("Start() = %q, want %q", got, want)
		}
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestAddressFromTheEnvironmentWins$", "-test.v")
	cmd.Env = append(os.Environ(), "REDISCACHETEST_INNER=1", "TEST_REDIS_URL=redis://cache.invalid:1/3")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestAddressFromTheEnvironmentWins") {
		t.Errorf("run with TEST_REDIS_URL: got %v\n%s", err, out)
	}
}

// TestWithoutAServer runs this binary again as on a machine that has none.
func TestWithoutAServer(t *testing.T) {
	t.Parallel()
	if os.Getenv("REDISCACHETEST_NONE") != "" {
		rediscachetest.Start(t)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for ci, want := range map[string]string{"": "--- SKIP: TestWithoutAServer", "true": "--- FAIL: TestWithoutAServer"} {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestWithoutAServer$", "-test.v")
		cmd.Env = append(os.Environ(), "REDISCACHETEST_NONE=1", "DEVSERVICES=off", "CI="+ci, "TEST_DATABASE_URL=", "TEST_REDIS_URL=")
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), want) || !strings.Contains(string(out), "Redis is treated as not installed") {
			t.Errorf("run with CI=%q: got\n%s\nwant %s and the reason", ci, out, want)
		}
	}
}
