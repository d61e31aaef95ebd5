package rediscache

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/batches"
)

// GetMany returns the values under keys; those that there are not are missing
// from the map. It takes one round trip for each 512 keys, and one for
// versions of tags that are not known yet; in a Cluster to each node.
// Errors: [ErrUnavailable].
func (n *Namespace[V]) GetMany(ctx context.Context, keys []string) (map[string]V, error) {
	values := make(map[string]V, len(keys))
	founds, err := n.fetchMany(ctx, keys)
	for key, f := range founds {
		if f.kind == foundFresh {
			values[key] = f.value
		}
	}
	n.counts.misses.Add(uint64(len(founds) - len(values)))
	return values, opError("get many "+n.name, err)
}

// fetchMany looks up keys in the near cache and in Redis. A key that is asked
// for is in the result, whatever was found, unless there is an error.
func (n *Namespace[V]) fetchMany(ctx context.Context, keys []string) (map[string]found[V], error) {
	founds := make(map[string]found[V], len(keys))
	var ask []string
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return nil, err
		}
		if _, twice := founds[key]; twice {
			continue
		}
		if hit := n.nearGet(key); hit != nil {
			n.counts.nearHits.Add(1)
			founds[key] = hit.found
			continue
		}
		founds[key] = found[V]{}
		ask = append(ask, key)
	}
	for page := range slices.Chunk(ask, batches.Max) {
		if err := n.fetchPage(ctx, page, founds); err != nil {
			n.counts.errors.Add(1)
			return founds, err
		}
	}
	return founds, nil
}

func (n *Namespace[V]) fetchPage(ctx context.Context, keys []string, founds map[string]found[V]) error {
	epoch, live := n.cache.coherence.live()
	marks := make([]uint64, 0, len(keys))
	full := make([]string, 0, len(keys))
	ask := make([]string, 0, len(keys))
	for _, key := range keys {
		var mark uint64
		if n.near != nil {
			mark = n.near.mark(key)
		}
		if !n.cache.pending.has(n.prefix + key) { // after the mark, as in fetch
			ask, full, marks = append(ask, key), append(full, n.prefix+key), append(marks, mark)
		}
	}
	stored, err := n.cache.readMany(ctx, full)
	if err != nil {
		return err
	}
	page, err := n.judgeMany(ctx, stored)
	if err != nil {
		return err
	}
	for i, key := range ask {
		f := page[i]
		if f.kind == foundFresh {
			n.counts.hits.Add(1)
		}
		if n.near != nil && live && len(stored[i]) > 0 {
			n.nearFill(key, &f, len(stored[i]), marks[i], epoch)
		}
		founds[key] = f
	}
	return nil
}

// SetMany stores values, in one round trip per 500, or one to each node of a
// Cluster. It is not atomic: on error some may be stored, and those that are
// not are remembered as invalid. Errors are those of [Namespace.Set].
func (n *Namespace[V]) SetMany(ctx context.Context, items map[string]V, opts ...SetOption) error {
	e := n.settings.entry
	for _, opt := range opts {
		if opt != nil {
			opt.applySet(&e)
		}
	}
	vs, err := n.standing(ctx, &e, e.kept(e.ttl))
	if err != nil {
		for key := range items {
			n.wrote(ctx, key, err)
		}
		return opError("set many "+n.name, err)
	}
	// Everything is encoded before anything is written.
	keys := slices.Collect(maps.Keys(items))
	writes := make([]keyWrite, len(keys))
	for i, key := range keys {
		if err := checkKey(key); err != nil {
			return opError("set many "+n.name, err)
		}
		ttl := e.jittered()
		data, err := n.encode(items[key], ttl, vs)
		if err != nil {
			return opError("set many "+n.name, err)
		}
		writes[i] = keyWrite{key: n.prefix + key, data: data, ttl: e.kept(ttl)}
	}
	n.counts.sets.Add(uint64(len(writes)))
	var errs []error
	for len(writes) > 0 {
		page := min(len(writes), replayBatch)
		for _, w := range writes[:page] {
			n.cache.pending.write(ctx, w.key)
		}
		for i, err := range n.cache.writeMany(ctx, writes[:page]) {
			n.wrote(ctx, keys[i], err)
			errs = append(errs, err)
		}
		writes, keys = writes[page:], keys[page:]
	}
	return opError("set many "+n.name, firstOf(errs))
}

// firstOf returns the first error: a hundred of the same outage say no more.
func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// readAround is readMany of keys of which one, or more, cannot be read: a value
// larger than what is accepted breaks the connection. Such a value is nothing.
func (c *Cache) readAround(ctx context.Context, keys []string) ([][]byte, error) {
	if len(keys) == 1 {
		c.counts.undecodable.Add(1)
		return make([][]byte, 1), nil
	}
	left, err := c.readMany(ctx, keys[:len(keys)/2])
	if err != nil {
		return nil, err
	}
	right, err := c.readMany(ctx, keys[len(keys)/2:])
	return append(left, right...), err
}

// readMany returns the bytes under keys, nil for none.
func (c *Cache) readMany(ctx context.Context, keys []string) ([][]byte, error) {
	stored := make([][]byte, len(keys))
	if len(keys) == 0 {
		return stored, nil
	}
	if c.link.cluster == nil {
		values, err := c.link.client.MGet(ctx, keys...).Result()
		if errors.Is(err, ErrTooLarge) {
			return c.readAround(ctx, keys)
		}
		for i, value := range values {
			if s, ok := value.(string); ok {
				stored[i] = []byte(s)
			}
		}
		return stored, err
	}
	pipe := c.link.client.Pipeline()
	gets := make([]*redis.StringCmd, len(keys))
	for i, key := range keys {
		gets[i] = pipe.Get(ctx, key)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) && classify(err) != classOK {
		return nil, err
	}
	for i, get := range gets {
		if data, err := get.Bytes(); err == nil {
			stored[i] = data
		} else if !errors.Is(err, redis.Nil) && classify(err) != classOK {
			return nil, err
		}
	}
	return stored, nil
}
