package cases

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pedro-go/pedro/bench/harness"
)

// hosts are the programs of bench/hosts; the first is compared with.
var hosts = []struct{ dir, name string }{
	{"wired", "by hand: pgxpool, go-redis, redisstore, net/http"},
	{"fx", "the same with uber-go/fx"},
	{"pedro", "pedro"},
}

// Start is what a host costs before it has done anything.
func (s *Servers) Start() []harness.Case {
	var stacks []harness.Stack
	for _, h := range hosts {
		stacks = append(stacks, harness.Stack{Name: h.name, Ours: h.dir == "pedro", Open: func(ctx context.Context, _ harness.Params) (*harness.Running, error) {
			return s.openHost(ctx, h.dir)
		}})
	}
	return []harness.Case{{
		Name: "start",
		About: "A host of pool, Redis, sessions, readiness and HTTP server, from the start of the process to the first 200 of its readiness, and its stop by SIGTERM " +
			"(not timed). RSS is one second later; modules are those linked.",
		Params: []harness.Params{{}},
		Stacks: stacks,
	}}
}

func (s *Servers) openHost(ctx context.Context, dir string) (*harness.Running, error) {
	pg, err := s.schema(ctx, 0)
	if err != nil {
		return nil, err
	}
	redis, err := s.RedisURL(ctx, 0)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "pedro-bench-host-")
	if err != nil {
		return nil, err
	}
	program := filepath.Join(tmp, dir)
	remove := func() error { return os.RemoveAll(tmp) }
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "github.com/pedro-go/pedro/bench/hosts/"+dir)
	if out, err := build.CombinedOutput(); err != nil {
		_ = remove()
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	file, err := os.Stat(program)
	if err != nil {
		_ = remove()
		return nil, err
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		_ = remove()
		return nil, err
	}
	sum := map[string]float64{} // counters grow
	var cpu time.Duration
	return &harness.Running{
		Slice: func(ctx context.Context, _ int, _ time.Duration) (harness.Sample, error) {
			took, rss, used, err := startOnce(ctx, program, "DATABASE_URL="+pg, "REDIS_URL="+redis, "SESSION_SECRET="+benchSecret)
			sum["RSS, MiB"] += rss
			sum["binary, MiB"] += float64(file.Size()) / (1 << 20)
			sum["modules"] += float64(len(info.Deps))
			cpu += used
			return harness.Sample{Units: 1, Elapsed: took, P50: took, P99: took}, err
		},
		Counters: func() map[string]float64 {
			return map[string]float64{"RSS, MiB": sum["RSS, MiB"], "binary, MiB": sum["binary, MiB"], "modules": sum["modules"]}
		},
		Usage: func() (harness.Usage, error) {
			return harness.Usage{CPU: cpu, Allocs: math.NaN(), Bytes: math.NaN()}, nil
		},
		Close: remove,
	}, nil
}

// startOnce starts a host, waits until it is ready, and stops it.
func startOnce(ctx context.Context, program string, env ...string) (took time.Duration, rssMiB float64, cpu time.Duration, err error) {
	began := time.Now()
	c, err := startChild(ctx, env, "", program)
	if err != nil {
		return 0, 0, 0, err
	}
	defer c.close()
	for {
		resp, err := http.Get("http://" + c.ready + "/health/ready")
		if err != nil {
			return 0, 0, 0, err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			break
		}
		if time.Since(began) > 10*time.Second {
			return 0, 0, 0, fmt.Errorf("%s is not ready: %s", program, resp.Status)
		}
		time.Sleep(100 * time.Microsecond)
	}
	took = time.Since(began)
	time.Sleep(time.Second)
	if rssMiB, err = residentMiB(c.cmd.Process.Pid); err != nil {
		return 0, 0, 0, err
	}
	if cpu, err = processCPU(c.cmd.Process.Pid); err != nil {
		return 0, 0, 0, err
	}
	return took, rssMiB, cpu, c.cmd.Process.Signal(syscall.SIGTERM)
}

// residentMiB is the memory that a process has in use.
func residentMiB(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmRSS", pid)
}
