package cases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	rediscachepeer "github.com/go-redis/cache/v9"
	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/pedro-go/pedro/rediscache"
)

// harnessAlone is the row of what every other row of the case has in it.
const harnessAlone = "the harness alone"

var nearGetters = []getter{
	{name: "rueidis DoCache", open: openDoCache("decoded:", true)},
	{name: "rueidis DoCache, not decoded", open: openDoCache("plain:", false)},
	{name: "go-redis client-side cache", open: func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		opt, err := redis.ParseURL(url)
		if err != nil {
			return nil, nil, err
		}
		opt.Protocol = 3
		opt.ClientSideCacheConfig = &redis.ClientSideCacheConfig{}
		c := redis.NewClient(opt)
		keys := prefixed("tracked:")
		get := getJSON(c, keys)
		if err := fill(ctx, c, keys, productJSON); err != nil {
			return nil, nil, err
		}
		return get, func() { _ = c.Close() }, once(ctx, get)
	}},
	{name: "go-redis/cache TinyLFU", open: openCachePeer("tinylfu:", rediscachepeer.NewTinyLFU(2*cachedKeys, cacheTTL))},
	{name: "otter alone", open: func(context.Context, string) (func(context.Context, int) error, func(), error) {
		c := otter.Must(&otter.Options[string, product]{MaximumSize: 2 * cachedKeys, ExpiryCalculator: otter.ExpiryWriting[string, product](cacheTTL)})
		for i, k := range keyNames {
			c.Set(k, makeProduct(i))
		}
		return func(_ context.Context, i int) error {
			p, ok := c.GetIfPresent(keyNames[i])
			if !ok {
				return redis.Nil
			}
			return p.check(i)
		}, func() { c.StopAllGoroutines() }, nil
	}},
	{name: harnessAlone, open: func(context.Context, string) (func(context.Context, int) error, func(), error) {
		products := make([]product, cachedKeys)
		for i := range products {
			products[i] = makeProduct(i)
		}
		return func(_ context.Context, i int) error {
			p := products[i]
			return p.check(i)
		}, func() {}, nil
	}},
	{name: "pedro", ours: true, open: func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		get, stop, err := openPedroGet(rediscache.Near(2*cachedKeys))(ctx, url)
		if err != nil {
			return nil, nil, err
		}
		return get, stop, once(ctx, get)
	}},
}

// once reads every key, so that the process has it.
func once(ctx context.Context, get func(context.Context, int) error) error {
	for i := range cachedKeys {
		if err := get(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func openDoCache(prefix string, decode bool) func(context.Context, string) (func(context.Context, int) error, func(), error) {
	return func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		c, err := newRueidis(url, true)
		if err != nil {
			return nil, nil, err
		}
		keys := prefixed(prefix)
		client, err := newGoRedis(url)
		if err != nil {
			return nil, nil, err
		}
		defer client.Close()
		if err := fill(ctx, client, keys, productJSON); err != nil {
			return nil, nil, err
		}
		get := func(ctx context.Context, i int) error {
			reply := c.DoCache(ctx, c.B().Get().Key(keys[i]).Cache(), cacheTTL)
			if !decode {
				v, err := reply.ToString()
				if err == nil && len(v) < 50 {
					return errWrong
				}
				return err
			}
			var p product
			if err := reply.DecodeJSON(&p); err != nil {
				return err
			}
			return p.check(i)
		}
		return get, c.Close, once(ctx, get)
	}
}

// missing makes keys that nobody has asked for yet.
var missing atomic.Int64

var loaders = []getter{
	{name: "go-redis", open: func(_ context.Context, url string) (func(context.Context, int) error, func(), error) {
		c, err := newGoRedis(url)
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, i int) error {
			key := "miss:" + strconv.FormatInt(missing.Add(1), 10)
			if _, err := c.Get(ctx, key).Bytes(); !errors.Is(err, redis.Nil) {
				return fmt.Errorf("no miss: %w", errors.Join(errWrong, err))
			}
			b, err := json.Marshal(makeProduct(i))
			if err != nil {
				return err
			}
			return c.Set(ctx, key, b, missTTL).Err()
		}, func() { _ = c.Close() }, nil
	}},
	{name: "rueidis Do", open: func(_ context.Context, url string) (func(context.Context, int) error, func(), error) {
		c, err := newRueidis(url, false)
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, i int) error {
			key := "miss:" + strconv.FormatInt(missing.Add(1), 10)
			if err := c.Do(ctx, c.B().Get().Key(key).Build()).Error(); !rueidis.IsRedisNil(err) {
				return fmt.Errorf("no miss: %w", errors.Join(errWrong, err))
			}
			b, err := json.Marshal(makeProduct(i))
			if err != nil {
				return err
			}
			return c.Do(ctx, c.B().Set().Key(key).Value(rueidis.BinaryString(b)).Ex(missTTL).Build()).Error()
		}, c.Close, nil
	}},
	{name: "go-redis/cache Once", open: func(_ context.Context, url string) (func(context.Context, int) error, func(), error) {
		client, err := newGoRedis(url)
		if err != nil {
			return nil, nil, err
		}
		c := newCachePeer(client, nil)
		return func(ctx context.Context, i int) error {
			var p product
			if err := c.Once(&rediscachepeer.Item{
				Ctx: ctx, Key: "miss:" + strconv.FormatInt(missing.Add(1), 10), Value: &p, TTL: missTTL,
				Do: func(*rediscachepeer.Item) (any, error) { return makeProduct(i), nil },
			}); err != nil {
				return err
			}
			return p.check(i)
		}, func() { _ = client.Close() }, nil
	}},
	{name: "pedro", ours: true, open: func(ctx context.Context, url string) (func(context.Context, int) error, func(), error) {
		c, stop, err := newPedroCache(ctx, url)
		if err != nil {
			return nil, nil, err
		}
		n := rediscache.Of[product](c, "loaded", rediscache.TTL(missTTL))
		return func(ctx context.Context, i int) error {
			p, err := n.Load(ctx, strconv.FormatInt(missing.Add(1), 10), func(context.Context, string) (product, error) { return makeProduct(i), nil })
			if err != nil {
				return err
			}
			return p.check(i)
		}, stop, nil
	}},
}
