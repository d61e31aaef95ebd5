package rediscache

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// read returns the bytes under key, nil if there are none. What is shared is part
// of a larger piece of memory.
func (c *Cache) read(ctx context.Context, key string) (data []byte, shared bool, err error) {
	return c.lane.get(ctx, key)
}

// write stores bytes under key for ttl; 0 or less means for ever.
func (c *Cache) write(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	if ttl <= 0 {
		return c.lane.set(ctx, key, data)
	}
	return c.lane.set(ctx, key, data, "px", millis(ttl))
}

// millis is a TTL as PX takes it.
func millis(ttl time.Duration) int64 { return max(ttl.Milliseconds(), 1) }

// A keyWrite is one of several.
type keyWrite struct {
	key  string
	data []byte
	ttl  time.Duration
}

// writeMany stores several keys in one round trip, to each node of a Cluster.
// It returns an error for each, nil for those stored.
func (c *Cache) writeMany(ctx context.Context, writes []keyWrite) []error {
	errs := make([]error, len(writes))
	if len(writes) == 1 {
		errs[0] = c.write(ctx, writes[0].key, writes[0].data, writes[0].ttl)
		return errs
	}
	pipe := c.link.client.Pipeline()
	for _, w := range writes {
		pipe.Set(ctx, w.key, w.data, max(w.ttl, 0))
	}
	cmds, err := pipe.Exec(ctx)
	for i := range writes {
		if len(cmds) == len(writes) {
			errs[i] = cmds[i].Err()
		} else {
			errs[i] = err
		}
	}
	return errs
}

// writeIf stores bytes under key if what is there now still has the seal. It
// reports whether it stored them.
func (c *Cache) writeIf(ctx context.Context, key string, s seal, data []byte, ttl time.Duration) (bool, error) {
	ttl = max(ttl, 0)
	if !s.there {
		args := []any{"nx"}
		if ttl > 0 {
			args = append(args, "px", millis(ttl))
		}
		err := c.lane.set(ctx, key, data, args...)
		if errors.Is(err, redis.Nil) {
			return false, nil
		}
		return err == nil, err
	}
	n, err := writeIfScript.Run(ctx, c.link.client, []string{key}, s.bytes[:s.n], data, ttl.Milliseconds()).Int()
	return n == 1, err
}

// A conditionalWrite is one of several that happen only if the seal still
// stands.
type conditionalWrite struct {
	keyWrite

	seal seal
}

// writeIfMany is writeIf for several keys in one round trip, to each node of a
// Cluster. It returns how many were stored, and how many nobody knows about, with
// the first reason.
func (c *Cache) writeIfMany(ctx context.Context, writes []conditionalWrite) (stored, failed int, reason error) {
	if len(writes) == 0 {
		return 0, 0, nil
	}
	pipe := c.link.client.Pipeline()
	cmds := make([]redis.Cmder, len(writes))
	for i, w := range writes {
		ttl := max(w.ttl, 0)
		if !w.seal.there {
			cmds[i] = pipe.SetArgs(ctx, w.key, w.data, redis.SetArgs{Mode: "NX", TTL: ttl})
		} else {
			cmds[i] = writeIfScript.Eval(ctx, pipe, []string{w.key}, w.seal.bytes[:w.seal.n], w.data, ttl.Milliseconds())
		}
	}
	_, _ = pipe.Exec(ctx)
	for i, cmd := range cmds {
		switch err := cmd.Err(); {
		case err == nil:
			if script, ok := cmd.(*redis.Cmd); ok && script.Val() != int64(1) {
				continue
			}
			stored++
			c.publish(ctx, writes[i].key)
		case !errors.Is(err, redis.Nil):
			failed++
			reason = cmp.Or(reason, err)
		}
	}
	return stored, failed, reason
}

var writeIfScript = redis.NewScript(`
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
if tonumber(ARGV[3]) > 0 then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1`)
