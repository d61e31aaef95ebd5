package cases

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pedro-go/pedro/bench/harness"
	"github.com/pedro-go/pedro/devservices"
)

// Servers are the real ones that the cases work with. Each is started when it
// is first needed, and all end with Close.
type Servers struct {
	mu      sync.Mutex
	redis   *devservices.Redis
	pg      *devservices.Postgres
	proxies map[string]*child
}

// Close ends the servers that were started.
func (s *Servers) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.proxies {
		p.close()
	}
	if s.redis != nil {
		_ = s.redis.Close()
	}
	if s.pg != nil {
		_ = s.pg.Close()
	}
}

// RedisURL returns the URL of a Redis that is so far away.
func (s *Servers) RedisURL(ctx context.Context, latency time.Duration) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.redis == nil {
		var err error
		if s.redis, err = devservices.StartRedis(ctx, devservices.WithRedisConfig("appendonly yes"), devservices.WithRedisConfig("appendfsync no")); err != nil {
			return "", err
		}
	}
	return s.away(ctx, s.redis.URL(), latency)
}

// PostgresURL returns the URL of a PostgreSQL that is so far away.
func (s *Servers) PostgresURL(ctx context.Context, latency time.Duration) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pg == nil {
		var err error
		if s.pg, err = devservices.StartPostgres(ctx, devservices.WithPostgresConfig("max_connections", "300")); err != nil {
			return "", err
		}
	}
	return s.away(ctx, s.pg.URL(), latency)
}

// away puts a proxy in front of a server: a process of its own, so that its
// work is not counted as a client's.
func (s *Servers) away(ctx context.Context, server string, latency time.Duration) (string, error) {
	if latency == 0 {
		return server, nil
	}
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	key := u.Host + " " + latency.String()
	if s.proxies[key] == nil {
		p, err := startRole(ctx, "proxy", "BENCH_TARGET="+u.Host, "BENCH_LATENCY="+(latency/2).String())
		if err != nil {
			return "", err
		}
		if s.proxies == nil {
			s.proxies = map[string]*child{}
		}
		s.proxies[key] = p
	}
	u.Host = s.proxies[key].ready
	return u.String(), nil
}

// redisCounters returns numbers of the Redis server: its commands, the bytes of
// its append-only file, and its processor time in microseconds.
func (s *Servers) redisCounters() map[string]float64 {
	counters := map[string]float64{
		"redis commands":  s.redisInfo("stats", "total_commands_processed"),
		"redis log bytes": s.redisInfo("persistence", "aof_current_size"),
	}
	if cpu, err := processCPU(s.redis.PID()); err == nil {
		counters["redis CPU, µs"] = float64(cpu.Microseconds())
	}
	return counters
}

// redisInfo returns a number of INFO, 0 if there is none.
func (s *Servers) redisInfo(section, field string) float64 {
	info, err := s.redis.Do(context.Background(), "INFO", section)
	if err != nil {
		return 0
	}
	text, _ := info.(string)
	for line := range strings.Lines(text) {
		if number, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			n, _ := strconv.ParseFloat(number, 64)
			return n
		}
	}
	return 0
}

// clockTicks is what /proc counts in, on every Linux that Go runs on.
const clockTicks = 100

// processCPU is the processor time that a process has used so far.
func processCPU(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, ok := strings.Cut(string(b), ") ") // the name may contain blanks
	fields := strings.Fields(after)
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		return 0, err
	}
	return time.Duration(user+system) * time.Second / clockTicks, nil
}

// familyCPU is the processor time of a process and of its children.
func familyCPU(pid int) (time.Duration, error) {
	sum, err := processCPU(pid)
	if err != nil {
		return 0, err
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return sum, nil // a kernel without it; the site's first process is nearly all
	}
	for text := range strings.FieldsSeq(string(b)) {
		child, err := strconv.Atoi(text)
		if err != nil {
			return 0, err
		}
		used, err := processCPU(child)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// vary makes the parameters of callers × latencies.
func vary(latencies []time.Duration, callers ...int) []harness.Params {
	var list []harness.Params
	for _, l := range latencies {
		for _, c := range callers {
			list = append(list, harness.Params{Callers: c, Latency: l})
		}
	}
	return list
}

// near and far are on the same machine, and in the same data centre.
var nearAndFar = []time.Duration{0, time.Millisecond}
