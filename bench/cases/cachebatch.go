package cases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/pedro-go/pedro/bench/harness"
	"github.com/pedro-go/pedro/rediscache"
)

// window is the batch that begins at a key.
func window(keys []string, i int) []string {
	i = min(i, len(keys)-batchKeys)
	return keys[i : i+batchKeys]
}

// checkBatch decodes and checks the values of a window.
func checkBatch(i int, values func(k int) (product, error)) error {
	i = min(i, cachedKeys-batchKeys)
	for k := range batchKeys {
		p, err := values(k)
		if err != nil {
			return err
		}
		if err := p.check(i + k); err != nil {
			return err
		}
	}
	return nil
}

var batches = []getter{
	{name: "go-redis MGET", open: openMGet(func(ctx context.Context, c *redis.Client, keys []string, i int) error {
		values, err := c.MGet(ctx, keys...).Result()
		if err != nil {
			return err
		}
		return checkBatch(i, func(k int) (p product, err error) {
			s, ok := values[k].(string)
			if !ok {
				return p, redis.Nil
			}
			return p, json.Unmarshal([]byte(s), &p)
		})
	})},
	{name: "go-redis pipeline", open: openMGet(func(ctx context.Context, c *redis.Client, keys []string, i int) error {
		replies := make([]*redis.StringCmd, len(keys))
		if _, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for k, key := range keys {
				replies[k] = p.Get(ctx, key)
			}
			return nil
		}); err != nil {
			return err
		}
		return checkBatch(i, func(k int) (p product, err error) {
			b, err := replies[k].Bytes()
			if err != nil {
				return p, err
			}
			return p, json.Unmarshal(b, &p)
		})
	})},
	{name: "rueidis MGET", open: func(_ context.Context, url string) (func(context.Context, int) error, func(), error) {
		c, err := newRueidis(url, false)
		if err != nil {
			return nil, nil, err
		}
		keys := prefixed("product:")
		return func(ctx context.Context, i int) error {
			window := window(keys, i)
			values, err := rueidis.MGet(c, ctx, window)
			if err != nil {
				return err
			}
			return checkBatch(i, func(k int) (p product, err error) {
				v := values[window[k]]
				return p, v.DecodeJSON(&p)
			})
		}, c.Close, nil
	}},
	{name: "go-redis/cache", open: func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		get, stop, err := openCachePeer("product:", nil)(ctx, url)
		return func(ctx context.Context, i int) error {
			i = min(i, cachedKeys-batchKeys)
			for k := range batchKeys {
				if err := get(ctx, i+k); err != nil {
					return err
				}
			}
			return nil
		}, stop, err
	}},
	{name: "pedro", ours: true, open: func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		c, stop, err := newPedroCache(ctx, url)
		if err != nil {
			return nil, nil, err
		}
		n := rediscache.Of[product](c, "typed", rediscache.TTL(cacheTTL))
		return func(ctx context.Context, i int) error {
			window := window(keyNames, i)
			values, err := n.GetMany(ctx, window)
			if err != nil {
				return err
			}
			return checkBatch(i, func(k int) (product, error) { return values[window[k]], nil })
		}, stop, fillPedro(ctx, n, makeProduct)
	}},
}

func openMGet(read func(ctx context.Context, c *redis.Client, keys []string, i int) error) func(context.Context, string) (func(context.Context, int) error, func(), error) {
	return func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		c, err := newGoRedis(url)
		if err != nil {
			return nil, nil, err
		}
		keys := prefixed("product:")
		return func(ctx context.Context, i int) error { return read(ctx, c, window(keys, i), i) },
			func() { _ = c.Close() }, fill(ctx, c, keys, productJSON)
	}
}

// clearing are the ways to delete by pattern.
var clearing = []struct {
	name  string
	clear func(ctx context.Context, c *redis.Client, pattern string) (int64, error)
}{
	{"KEYS + DEL", func(ctx context.Context, c *redis.Client, pattern string) (int64, error) {
		keys, err := c.Keys(ctx, pattern).Result()
		if err != nil || len(keys) == 0 {
			return 0, err
		}
		return c.Del(ctx, keys...).Result()
	}},
	{"SCAN 1000 + DEL", scanAnd(func(ctx context.Context, c *redis.Client, keys []string) (int64, error) {
		return c.Del(ctx, keys...).Result()
	})},
	{"SCAN 1000 + UNLINK", scanAnd(func(ctx context.Context, c *redis.Client, keys []string) (int64, error) {
		return c.Unlink(ctx, keys...).Result()
	})},
}

func scanAnd(remove func(ctx context.Context, c *redis.Client, keys []string) (int64, error)) func(context.Context, *redis.Client, string) (int64, error) {
	return func(ctx context.Context, c *redis.Client, pattern string) (int64, error) {
		var deleted int64
		var cursor uint64
		for {
			keys, next, err := c.Scan(ctx, cursor, pattern, 1000).Result()
			if err != nil {
				return deleted, err
			}
			if len(keys) > 0 {
				n, err := remove(ctx, c, keys)
				if err != nil {
					return deleted, err
				}
				deleted += n
			}
			if cursor = next; cursor == 0 {
				return deleted, nil
			}
		}
	}
}

const bystander = "kept:1"

// populateStep keeps each command that fills well below a client's time limit.
const populateStep = 10_000

var populate = redis.NewScript(`for i = tonumber(ARGV[2]), tonumber(ARGV[3]) do redis.call("SET", ARGV[1] .. i, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx") end return 1`)

// clear deletes keys by pattern.
func (s *Servers) clear() harness.Case {
	c := harness.Case{
		Name: "cache/clear",
		About: "Deleting keys by pattern, of which there are so many and a fifth more that stay; counted in keys. The latencies are those of " +
			"another client that reads one key meanwhile. Redis keeps no log then. The million is one round.",
		Params: []harness.Params{{N: 100_000}, {N: million}},
		Rounds: 3,
		Long:   million,
	}
	for _, way := range clearing {
		c.Stacks = append(c.Stacks, harness.Stack{Name: way.name, Open: func(ctx context.Context, p harness.Params) (*harness.Running, error) {
			url, err := s.RedisURL(ctx, 0)
			if err != nil {
				return nil, err
			}
			client, err := newPatient(url)
			if err != nil {
				return nil, err
			}
			return &harness.Running{
				Slice: clearSlice(client, p.N, func(context.Context) error { return nil }, func(ctx context.Context) (int64, error) { return way.clear(ctx, client, "doomed:*") }),
				Close: client.Close,
			}, nil
		}})
	}
	c.Stacks = append(c.Stacks, harness.Stack{Name: "pedro", Ours: true, Open: func(ctx context.Context, p harness.Params) (*harness.Running, error) {
		url, err := s.RedisURL(ctx, 0)
		if err != nil {
			return nil, err
		}
		client, err := newPatient(url)
		if err != nil {
			return nil, err
		}
		cache, stop, err := newPedroCache(ctx, url)
		if err != nil {
			return nil, err
		}
		return &harness.Running{
			Slice: clearSlice(client, p.N, cache.Ping, func(ctx context.Context) (int64, error) { return cache.ClearPattern(ctx, "doomed:*") }),
			Close: func() error { stop(); return client.Close() },
		}, nil
	}})
	return c
}

// newPatient is a client that waits until KEYS or FLUSHALL of a million is done.
func newPatient(url string) (*redis.Client, error) {
	opt, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	opt.ReadTimeout = time.Minute
	return redis.NewClient(opt), nil
}

// withoutLog empties Redis and stops its log, which so many keys would make
// large, until what it returns is called.
func withoutLog(ctx context.Context, client *redis.Client) (logAgain func(), err error) {
	if err := client.ConfigSet(ctx, "appendonly", "no").Err(); err != nil {
		return nil, err
	}
	// The log begins with what there is: nothing, or it would take time.
	return func() { client.FlushAll(ctx); client.ConfigSet(ctx, "appendonly", "yes") }, client.FlushAll(ctx).Err()
}

// clearSlice fills, clears once, and watches what another client waits.
func clearSlice(client *redis.Client, n int, ping func(context.Context) error, clearKeys func(context.Context) (int64, error)) func(context.Context, int, time.Duration) (harness.Sample, error) {
	return func(ctx context.Context, _ int, _ time.Duration) (harness.Sample, error) {
		logAgain, err := withoutLog(ctx, client)
		if err != nil {
			return harness.Sample{}, err
		}
		defer logAgain()
		for prefix, count := range map[string]int{"doomed:": n, "kept:": n / 5} {
			for from := 0; from < count; from += populateStep {
				if err := populate.Run(ctx, client, nil, prefix, from, from+populateStep-1).Err(); err != nil {
					return harness.Sample{}, err
				}
			}
		}
		// Filling, and KEYS of the stack before, keep Redis from answering for so
		// long that a client may have given it up.
		for ping(ctx) != nil && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		watched, stop := context.WithCancel(ctx)
		waits := make(chan []time.Duration, 1)
		go func() { waits <- watch(watched, client) }()
		began := time.Now()
		deleted, err := clearKeys(ctx)
		elapsed := time.Since(began)
		stop()
		list := <-waits
		if err == nil && deleted != int64(n) {
			err = fmt.Errorf("%w: %d keys deleted, want %d", errWrong, deleted, n)
		}
		if err == nil && len(list) == 0 {
			err = errors.New("the other client got no answer at all")
		}
		if err != nil {
			return harness.Sample{}, err
		}
		slices.Sort(list)
		return harness.Sample{Units: float64(n), Elapsed: elapsed, P50: list[len(list)/2], P99: list[len(list)*99/100]}, nil
	}
}

// watch reads a key now and then, and returns how long each read took.
func watch(ctx context.Context, client *redis.Client) []time.Duration {
	var waits []time.Duration
	for ctx.Err() == nil {
		began := time.Now()
		if err := client.Get(context.WithoutCancel(ctx), bystander).Err(); err != nil {
			return nil
		}
		waits = append(waits, time.Since(began))
		time.Sleep(200 * time.Microsecond)
	}
	return waits
}
