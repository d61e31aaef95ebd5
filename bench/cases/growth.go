package cases

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pedro-go/pedro/bench/harness"
	"github.com/pedro-go/pedro/rediscache"
)

// Growth is how the cost grows with the size of what is kept, and with how much
// there is.
func (s *Servers) Growth() []harness.Case {
	return []harness.Case{
		{
			Name:   "growth/value",
			About:  "GET of n bytes of JSON, not decoded. From 1 KiB on pedro compresses with S2: the work of decompressing, against bytes on the network and in Redis, of which loopback has plenty.",
			Params: sizes(16, 100, 10_000, 1_000_000),
			Stacks: s.valueStacks(),
		},
		{
			Name:   "growth/session",
			About:  "The page of session/read with n bytes more in the session.",
			Params: sizes(sessionCallers, 1_024, 16_384),
			Stacks: s.sites([]string{"gorilla", "scs", "pedro", "pedro-local", "express"}, func(c *browser, _ int) error {
				return c.expect("/me", c.user)
			}, true),
		},
		{
			Name: "growth/sessions",
			About: "So many users log in, one after the other on 32 connections, and all stay; counted in sessions. Memory is Redis' and the server process', for each " +
				"session that there then is.",
			Params: sizes(sessionCallers, 2_000, 20_000),
			Rounds: 1,
			Stacks: s.crowds([]string{"gorilla", "scs", "pedro", "pedro-local", "express"}),
		},
		s.millionSessions(),
	}
}

func sizes(callers int, list ...int) []harness.Params {
	var params []harness.Params
	for _, n := range list {
		params = append(params, harness.Params{Callers: callers, N: n})
	}
	return params
}

// valueStacks read the same value through go-redis and through the cache.
func (s *Servers) valueStacks() []harness.Stack {
	const key = "large"
	ready := func(read func(ctx context.Context) ([]byte, error), size int, stop func()) *harness.Running {
		return &harness.Running{
			Do: func(ctx context.Context, _, _ int) error {
				b, err := read(ctx)
				if err == nil && len(b) != size {
					err = errWrong
				}
				return err
			},
			Close: func() error { stop(); return nil },
		}
	}
	pedro := func(how rediscache.Compression) func(ctx context.Context, p harness.Params) (*harness.Running, error) {
		return func(ctx context.Context, p harness.Params) (*harness.Running, error) {
			url, err := s.RedisURL(ctx, 0)
			if err != nil {
				return nil, err
			}
			c, stop, err := newPedroCache(ctx, url)
			if err != nil {
				return nil, err
			}
			values := rediscache.Of[[]byte](c, "values-"+strconv.Itoa(int(how)), rediscache.WithCodec(rediscache.Raw), rediscache.TTL(cacheTTL), rediscache.Compress(how, 0))
			read := func(ctx context.Context) ([]byte, error) { return values.Get(ctx, key) }
			return ready(read, p.N, stop), values.Set(ctx, key, document(p.N))
		}
	}
	return []harness.Stack{
		{Name: "go-redis", Open: func(ctx context.Context, p harness.Params) (*harness.Running, error) {
			url, err := s.RedisURL(ctx, 0)
			if err != nil {
				return nil, err
			}
			client, err := newGoRedis(url)
			if err != nil {
				return nil, err
			}
			read := func(ctx context.Context) ([]byte, error) { return client.Get(ctx, key).Bytes() }
			return ready(read, p.N, func() { _ = client.Close() }), client.Set(ctx, key, document(p.N), 0).Err()
		}},
		{Name: "pedro", Ours: true, Open: pedro(rediscache.S2)},
		{Name: "pedro, NoCompression", Ours: true, Open: pedro(rediscache.NoCompression)},
	}
}

// document is n bytes of JSON.
func document(n int) []byte {
	var doc []byte
	for i := 0; len(doc) < n; i++ {
		b, _ := json.Marshal(makeProduct(i))
		doc = append(doc, b...)
	}
	return doc[:n]
}

// crowds log in many users on a site of their own.
func (s *Servers) crowds(names []string) []harness.Stack {
	var stacks []harness.Stack
	for _, name := range names {
		stacks = append(stacks, harness.Stack{Name: siteNames[name], Ours: strings.HasPrefix(name, "pedro"), Open: func(ctx context.Context, p harness.Params) (*harness.Running, error) {
			url, err := s.RedisURL(ctx, 0)
			if err != nil {
				return nil, err
			}
			c, err := startSite(ctx, name, url)
			if err != nil {
				return nil, err
			}
			used := map[string]float64{} // counters grow
			return &harness.Running{
				Slice: func(_ context.Context, callers int, _ time.Duration) (harness.Sample, error) {
					return s.crowd(c, callers, p.N, used)
				},
				Counters: func() map[string]float64 {
					return map[string]float64{"redis memory, bytes": used["redis"], "server memory, bytes": used["server"]}
				},
				Usage: func() (harness.Usage, error) {
					cpu, err := familyCPU(c.cmd.Process.Pid)
					return harness.Usage{CPU: cpu, Allocs: math.NaN(), Bytes: math.NaN()}, err
				},
				Close: func() error { c.close(); return nil },
			}, nil
		}})
	}
	return stacks
}

// crowd has n users log in, and adds to used what they take.
func (s *Servers) crowd(c *child, callers, n int, used map[string]float64) (harness.Sample, error) {
	if _, err := s.redis.Do(context.Background(), "FLUSHALL"); err != nil {
		return harness.Sample{}, err
	}
	redisBefore := s.redisInfo("memory", "used_memory")
	serverBefore, err := residentMiB(c.cmd.Process.Pid)
	if err != nil {
		return harness.Sample{}, err
	}
	errs := make([]error, callers)
	began := time.Now()
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() { errs[caller] = logIn(c.ready, caller, callers, n) })
	}
	wg.Wait()
	took := time.Since(began)
	for _, err := range errs {
		if err != nil {
			return harness.Sample{}, err
		}
	}
	used["redis"] += s.redisInfo("memory", "used_memory") - redisBefore
	serverAfter, err := residentMiB(c.cmd.Process.Pid)
	used["server"] += (serverAfter - serverBefore) * (1 << 20)
	return harness.Sample{Units: float64(n), Elapsed: took, P50: took / time.Duration(n/callers), P99: took / time.Duration(n/callers)}, err
}

// logIn logs in every step-th user, each without the cookie of the one before.
func logIn(addr string, first, step, n int) error {
	b, err := dialBrowser(addr)
	if err != nil {
		return err
	}
	defer b.conn.Close()
	for i := first; i < n; i += step {
		b.cookie = ""
		user := "user-" + strconv.Itoa(i)
		if err := b.expect("/login/"+user, user); err != nil {
			return err
		}
	}
	return nil
}
