package cases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	rediscachepeer "github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/pedro-go/pedro/bench/harness"
	"github.com/pedro-go/pedro/rediscache"
)

// product is what is cached: 130 bytes as JSON.
type product struct {
	ID      int64    `json:"id"`
	Name    string   `json:"name"`
	Price   float64  `json:"price"`
	Tags    []string `json:"tags"`
	InStock bool     `json:"in_stock"`
}

func makeProduct(id int) product {
	return product{ID: int64(id), Name: "A product with a name " + strconv.Itoa(id), Price: 12.5, Tags: []string{"kitchen", "steel"}, InStock: true}
}

func (p product) check(id int) error {
	if p.ID != int64(id) || len(p.Tags) != 2 {
		return fmt.Errorf("product %d is %+v", id, p)
	}
	return nil
}

const (
	cachedKeys = 10_000
	batchKeys  = 100
	cacheTTL   = time.Hour
	missTTL    = 10 * time.Second
)

var errWrong = errors.New("the answer is wrong")

// keyNames are the keys without a prefix, made once.
var keyNames = func() []string {
	names := make([]string, cachedKeys)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}()

// pick spreads callers and calls over the keys.
func pick(caller, i int) int { return (caller*6151 + i*7) % cachedKeys }

func prefixed(prefix string) []string {
	names := make([]string, cachedKeys)
	for i := range names {
		names[i] = prefix + keyNames[i]
	}
	return names
}

// a getter is a stack of the cases that read a key.
type getter struct {
	name string
	ours bool
	open func(ctx context.Context, url string) (get func(ctx context.Context, i int) error, stop func(), err error)
}

// getters makes stacks. settings are what the case needs beside Do and Close.
func (s *Servers) getters(settings harness.Running, list []getter) []harness.Stack {
	var stacks []harness.Stack
	for _, g := range list {
		stacks = append(stacks, harness.Stack{Name: g.name, Ours: g.ours, Open: func(ctx context.Context, p harness.Params) (*harness.Running, error) {
			url, err := s.RedisURL(ctx, p.Latency)
			if err != nil {
				return nil, err
			}
			get, stop, err := g.open(ctx, url)
			if err != nil {
				return nil, err
			}
			r := settings
			keys := cachedKeys
			if p.N > 0 {
				keys = p.N
			}
			r.Do = func(ctx context.Context, caller, i int) error { return get(ctx, pick(caller, i)%keys) }
			r.Close = func() error { stop(); return nil }
			return &r, nil
		}})
	}
	return stacks
}

// Cache is the cost of cached values.
func (s *Servers) Cache() []harness.Case {
	return []harness.Case{
		{
			Name:   "cache/get",
			About:  "GET of 100 bytes, not decoded, of 10,000 keys: the client itself.",
			Params: vary(nearAndFar, 1, 16, 256),
			Luck:   true,
			Stacks: s.getters(harness.Running{}, rawGetters),
		},
		{
			Name:   "cache/hit",
			About:  "A hit in Redis: a struct of five fields, decoded from JSON by every stack.",
			Params: vary(nearAndFar, 1, 16, 256),
			Luck:   true,
			Stacks: s.getters(harness.Running{}, typedGetters),
		},
		{
			Name: "cache/near",
			About: "A hit in the process, of the same struct. go-redis and rueidis keep the reply and decode it each time, go-redis/cache keeps the bytes, " +
				"otter and pedro keep the struct. otter alone is not coherent with Redis: it is the limit of what a near cache can reach. The harness alone takes " +
				"the struct from a slice: the clock, the choice of a key and the check of the answer, which are in every row; the goal in ns is of pedro less that. " +
				"n is how many keys are read in turn: 100 stay in the processor's caches, 10,000 do not, and what is then measured is mostly memory.",
			Params: append(sizes(1, 100, cachedKeys), append(sizes(16, cachedKeys), sizes(256, cachedKeys)...)...),
			Stacks: s.getters(harness.Running{Burst: 64}, nearGetters),
		},
		{
			Name:   "cache/load",
			About:  "A miss: ask Redis, load (which costs nothing here), store for 10 s.",
			Params: append(vary(nearAndFar[:1], 1, 16, 256), vary(nearAndFar[1:], 16)...),
			Stacks: s.getters(harness.Running{}, loaders),
		},
		{
			Name:   "cache/batch-100",
			About:  "100 keys at once, each decoded; counted in keys. go-redis/cache has no batch and asks one by one.",
			Params: vary(nearAndFar, 1, 16),
			Stacks: s.getters(harness.Running{Weight: batchKeys}, batches),
		},
		s.clear(),
	}
}

func newGoRedis(url string) (*redis.Client, error) {
	opt, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return redis.NewClient(opt), nil
}

func newRueidis(url string, withCache bool) (rueidis.Client, error) {
	opt, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	opt.DisableCache = !withCache
	return rueidis.NewClient(opt)
}

func newPedroCache(ctx context.Context, url string) (*rediscache.Cache, func(), error) {
	// go-redis waits three seconds for an answer, as the peers here do.
	c, err := rediscache.New(rediscache.Config{URL: url, Required: true, Timeout: 3 * time.Second}, rediscache.WithLogger(quiet))
	if err != nil {
		return nil, nil, err
	}
	err = c.Start(ctx)
	return c, func() { _ = c.Stop(context.Background()) }, err
}

// fill writes every key with go-redis, unless they are there.
func fill(ctx context.Context, c redis.Cmdable, keys []string, value func(i int) any) error {
	if n, err := c.Exists(ctx, keys[0], keys[len(keys)-1]).Result(); err != nil || n == 2 {
		return err
	}
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, k := range keys {
			p.Set(ctx, k, value(i), cacheTTL)
		}
		return nil
	})
	return err
}

var hundredBytes = strings.Repeat("x", 100)

func hundred(int) any { return hundredBytes }

func productJSON(i int) any {
	b, err := json.Marshal(makeProduct(i))
	if err != nil {
		panic(err) // a struct of plain fields
	}
	return b
}

var rawGetters = []getter{
	{name: "go-redis", open: openGet(func(c *redis.Client) (redis.Cmdable, func() error, error) { return c, c.Close, nil })},
	{name: "go-redis AutoPipeline", open: openGet(autoPipeline)},
	{name: "rueidis Do", open: func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		c, err := newRueidis(url, false)
		if err != nil {
			return nil, nil, err
		}
		keys := prefixed("raw:")
		return func(ctx context.Context, i int) error {
			v, err := c.Do(ctx, c.B().Get().Key(keys[i]).Build()).ToString()
			if err == nil && len(v) != len(hundredBytes) {
				return errWrong
			}
			return err
		}, c.Close, nil
	}},
	{name: "pedro", ours: true, open: func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		c, stop, err := newPedroCache(ctx, url)
		if err != nil {
			return nil, nil, err
		}
		n := rediscache.Of[[]byte](c, "bytes", rediscache.WithCodec(rediscache.Raw), rediscache.TTL(cacheTTL))
		return func(ctx context.Context, i int) error {
			v, err := n.Get(ctx, keyNames[i])
			if err == nil && len(v) != len(hundredBytes) {
				return errWrong
			}
			return err
		}, stop, fillPedro(ctx, n, func(int) []byte { return []byte(hundredBytes) })
	}},
}

func autoPipeline(c *redis.Client) (redis.Cmdable, func() error, error) {
	a, err := c.AutoPipeline()
	if err != nil {
		return nil, nil, err
	}
	return a, func() error { return errors.Join(a.Close(), c.Close()) }, nil
}

// A goRedis is a face of go-redis, and what closes it.
type goRedis = func(*redis.Client) (redis.Cmdable, func() error, error)

func openGet(face goRedis) func(context.Context, string) (func(context.Context, int) error, func(), error) {
	return func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		client, err := newGoRedis(url)
		if err != nil {
			return nil, nil, err
		}
		keys := prefixed("raw:")
		if err := fill(ctx, client, keys, hundred); err != nil {
			return nil, nil, err
		}
		c, stop, err := face(client)
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, i int) error {
			v, err := c.Get(ctx, keys[i]).Result()
			if err == nil && len(v) != len(hundredBytes) {
				return errWrong
			}
			return err
		}, func() { _ = stop() }, nil
	}
}

var typedGetters = []getter{
	{name: "go-redis", open: openGetJSON(func(c *redis.Client) (redis.Cmdable, func() error, error) { return c, c.Close, nil })},
	{name: "go-redis AutoPipeline", open: openGetJSON(autoPipeline)},
	{name: "rueidis Do", open: func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		c, err := newRueidis(url, false)
		if err != nil {
			return nil, nil, err
		}
		keys := prefixed("product:")
		return func(ctx context.Context, i int) error {
			var p product
			if err := c.Do(ctx, c.B().Get().Key(keys[i]).Build()).DecodeJSON(&p); err != nil {
				return err
			}
			return p.check(i)
		}, c.Close, nil
	}},
	{name: "go-redis/cache", open: openCachePeer("product:", nil)},
	{name: "pedro", ours: true, open: openPedroGet()},
}

func openGetJSON(face goRedis) func(context.Context, string) (func(context.Context, int) error, func(), error) {
	return func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		client, err := newGoRedis(url)
		if err != nil {
			return nil, nil, err
		}
		keys := prefixed("product:")
		if err := fill(ctx, client, keys, productJSON); err != nil {
			return nil, nil, err
		}
		c, stop, err := face(client)
		if err != nil {
			return nil, nil, err
		}
		return getJSON(c, keys), func() { _ = stop() }, nil
	}
}

func getJSON(c redis.Cmdable, keys []string) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		b, err := c.Get(ctx, keys[i]).Bytes()
		if err != nil {
			return err
		}
		var p product
		if err := json.Unmarshal(b, &p); err != nil {
			return err
		}
		return p.check(i)
	}
}

func openCachePeer(prefix string, local rediscachepeer.LocalCache) func(context.Context, string) (func(context.Context, int) error, func(), error) {
	return func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		client, err := newGoRedis(url)
		if err != nil {
			return nil, nil, err
		}
		keys := prefixed(prefix)
		c := newCachePeer(client, local)
		return func(ctx context.Context, i int) error {
			var p product
			if err := c.Get(ctx, keys[i], &p); err != nil {
				return err
			}
			return p.check(i)
		}, func() { _ = client.Close() }, fill(ctx, client, keys, productJSON)
	}
}

// newCachePeer is go-redis/cache with JSON, as all others here have it.
func newCachePeer(client *redis.Client, local rediscachepeer.LocalCache) *rediscachepeer.Cache {
	return rediscachepeer.New(&rediscachepeer.Options{
		Redis:      client,
		LocalCache: local,
		Marshal:    json.Marshal,
		Unmarshal:  json.Unmarshal,
	})
}

func openPedroGet(opts ...rediscache.NamespaceOption) func(context.Context, string) (func(context.Context, int) error, func(), error) {
	return func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		c, stop, err := newPedroCache(ctx, url)
		if err != nil {
			return nil, nil, err
		}
		n := rediscache.Of[product](c, "typed", append(opts, rediscache.TTL(cacheTTL))...)
		get := func(ctx context.Context, i int) error {
			p, err := n.Get(ctx, keyNames[i])
			if err != nil {
				return err
			}
			return p.check(i)
		}
		return get, stop, fillPedro(ctx, n, makeProduct)
	}
}

// fillPedro writes every key, unless they are there.
func fillPedro[V any](ctx context.Context, n *rediscache.Namespace[V], value func(i int) V) error {
	if _, err := n.Get(ctx, keyNames[len(keyNames)-1]); !errors.Is(err, rediscache.ErrNotFound) {
		return err
	}
	items := map[string]V{}
	for i, k := range keyNames {
		items[k] = value(i)
	}
	return n.SetMany(ctx, items)
}
