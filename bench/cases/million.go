package cases

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/bench/harness"
)

// million is what the long rounds have of their kind.
const million = 1_000_000

// copies makes copies of keys under names of the same length, in which a
// number takes the place of the end.
var copies = redis.NewScript(`
for k = 1, #KEYS do
	local dump, ttl = redis.call("DUMP", KEYS[k]), math.max(redis.call("PTTL", KEYS[k]), 0)
	for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
		redis.call("RESTORE", string.sub(KEYS[k], 1, -8) .. string.format("%07d", i), ttl, dump, "REPLACE")
	end
end
return 1`)

// millionSessions is what so many sessions take in Redis.
func (s *Servers) millionSessions() harness.Case {
	c := harness.Case{
		Name: "growth/million-sessions",
		About: "Redis' memory for a million sessions of session/read, each of a user of its own, and the keys of one. The sessions are copies, made in Redis, of " +
			"what a login on the site has written; a second is of copying, and no figure of a library.",
		Params: []harness.Params{{N: million}},
		Long:   million,
	}
	for _, name := range []string{"gorilla", "scs", "pedro"} {
		c.Stacks = append(c.Stacks, harness.Stack{Name: siteNames[name], Ours: name == "pedro", Open: func(ctx context.Context, p harness.Params) (*harness.Running, error) {
			url, err := s.RedisURL(ctx, 0)
			if err != nil {
				return nil, err
			}
			client, err := newPatient(url)
			if err != nil {
				return nil, err
			}
			used := map[string]float64{} // counters grow
			return &harness.Running{
				Slice: func(ctx context.Context, _ int, _ time.Duration) (harness.Sample, error) {
					return s.copySessions(ctx, client, name, url, p.N, used)
				},
				Counters: func() map[string]float64 {
					return map[string]float64{"redis memory, bytes": used["memory"], "redis keys": used["keys"]}
				},
				Usage: func() (harness.Usage, error) { // of Redis, not of a library
					return harness.Usage{Allocs: math.NaN(), Bytes: math.NaN()}, nil
				},
				Close: client.Close,
			}, nil
		}})
	}
	return c
}

// copySessions logs in once, copies what that has written, and adds to used what
// the copies take.
func (s *Servers) copySessions(ctx context.Context, client *redis.Client, name, url string, n int, used map[string]float64) (harness.Sample, error) {
	logAgain, err := withoutLog(ctx, client)
	if err != nil {
		return harness.Sample{}, err
	}
	defer logAgain()
	keys, err := keysOfLogin(ctx, client, name, url)
	if err != nil {
		return harness.Sample{}, err
	}
	size := client.DBSize(ctx).Val()
	before := s.redisInfo("memory", "used_memory")
	began := time.Now()
	for from := 0; from < n; from += populateStep {
		if err := copies.Run(ctx, client, keys, from, from+populateStep-1).Err(); err != nil {
			return harness.Sample{}, err
		}
	}
	took := time.Since(began)
	used["memory"] += s.redisInfo("memory", "used_memory") - before
	used["keys"] += float64(n * len(keys))
	if got, want := client.DBSize(ctx).Val()-size, int64(n*len(keys)); got != want {
		return harness.Sample{}, fmt.Errorf("%w: %d keys more, want %d", errWrong, got, want)
	}
	return harness.Sample{Units: float64(n), Elapsed: took, P50: took, P99: took}, nil
}

// keysOfLogin returns what a second user's login adds to the keys in Redis.
func keysOfLogin(ctx context.Context, client *redis.Client, name, url string) ([]string, error) {
	c, err := startSite(ctx, name, url)
	if err != nil {
		return nil, err
	}
	defer c.close()
	b, err := dialBrowser(c.ready)
	if err != nil {
		return nil, err
	}
	defer b.conn.Close()
	var before, after []string
	for _, user := range []string{"user-0000001", "user-0000002"} {
		b.cookie = ""
		if err := b.expect("/login/"+user, user); err != nil {
			return nil, err
		}
		before = after
		if after, err = client.Keys(ctx, "*").Result(); err != nil {
			return nil, err
		}
	}
	added := slices.DeleteFunc(after, func(key string) bool { return slices.Contains(before, key) })
	if len(added) == 0 || slices.ContainsFunc(added, func(key string) bool { return len(key) < len("user-0000001") }) {
		return nil, fmt.Errorf("%w: a login adds the keys %s", errWrong, strings.Join(added, ", "))
	}
	return added, nil
}
