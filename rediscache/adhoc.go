package rediscache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Set stores value as JSON under key for ttl; 0 or less keeps it until it is
// deleted. Any other program can read it. For more than an occasional value
// use a namespace, see [Of].
//
// Errors: [ErrUnavailable] (the key is then remembered as invalid, see
// Failure in the package documentation), [ErrTooLarge].
func (c *Cache) Set(ctx context.Context, key string, value any, ttl time.Duration) error {
	if err := checkKey(key); err != nil {
		return opError("set", err)
	}
	data, err := json.Marshal(value)
	if err != nil {
		return opError("set", fmt.Errorf("encode: %w", err))
	}
	if int64(len(data)) > c.cfg.MaxValueBytes {
		return opError("set", fmt.Errorf("%w: value of %d bytes", ErrTooLarge, len(data)))
	}
	c.counts.sets.Add(1)
	c.pending.write(ctx, key)
	err = c.write(ctx, key, data, ttl)
	c.wrote(ctx, key, err)
	return opError("set", err)
}

// Get decodes the JSON value under key into dst, a pointer. It returns
// [ErrNotFound] if there is none; a value that is not JSON for dst counts as
// none. Other errors: [ErrUnavailable].
func (c *Cache) Get(ctx context.Context, key string, dst any) error {
	if err := checkKey(key); err != nil {
		return opError("get", err)
	}
	var data []byte
	if !c.pending.has(key) {
		var err error
		if data, _, err = c.read(ctx, key); err != nil {
			c.counts.errors.Add(1)
			return opError("get", err)
		}
	}
	if data == nil {
		c.counts.misses.Add(1)
		return ErrNotFound
	}
	if err := unmarshalWhole(data, dst); err != nil {
		if _, ok := errors.AsType[*json.InvalidUnmarshalError](err); ok {
			return opError("get", err) // the caller's mistake, not the data's
		}
		c.counts.undecodable.Add(1)
		c.counts.misses.Add(1)
		return ErrNotFound
	}
	c.counts.hits.Add(1)
	return nil
}

// Del deletes keys and returns how many of them existed, or fewer if the command
// was sent again because a connection broke. Keys of namespaces
// are better deleted by [Namespace.Del], which also stops loads that are under
// way. Errors: [ErrUnavailable]; the keys are then remembered and deleted when
// Redis is back.
func (c *Cache) Del(ctx context.Context, keys ...string) (int64, error) {
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return 0, opError("del", err)
		}
	}
	c.counts.dels.Add(uint64(len(keys)))
	n, err := c.unlink(ctx, keys)
	for _, key := range keys {
		c.wrote(ctx, key, err)
	}
	return n, opError("del", err)
}

// wrote follows up on a write of a key, successful or not.
func (c *Cache) wrote(ctx context.Context, key string, err error) {
	if err == nil {
		c.pending.settle(key)
		c.publish(ctx, key)
	} else {
		c.counts.errors.Add(1)
		c.remember(key, 0, nil, err)
	}
	c.coherence.touched(key)
}

// checkKey refuses what can only be a mistake.
func checkKey(key string) error {
	if key == "" {
		return errors.New("empty key")
	}
	if len(key) > maxKeyLen {
		return fmt.Errorf("%w: key of %d bytes, more than %d", ErrTooLarge, len(key), maxKeyLen)
	}
	return nil
}

// maxKeyLen is far below Redis' 512 MB and far above any key with a meaning.
const maxKeyLen = 64 << 10

// unlink deletes keys on whatever nodes they are.
func (c *Cache) unlink(ctx context.Context, keys []string) (int64, error) {
	if len(keys) == 0 {
		return 0, nil
	}
	if len(keys) > replayBatch { // one command of a million keys takes longer than any may
		var total int64
		var errs []error
		for page := range slices.Chunk(keys, replayBatch) {
			n, err := c.unlink(ctx, page)
			total += n
			errs = append(errs, err)
		}
		return total, firstOf(errs)
	}
	pipe := c.link.client.Pipeline()
	var cmds []*redis.IntCmd
	if c.link.cluster == nil {
		cmds = append(cmds, pipe.Unlink(ctx, keys...))
	} else { // keys of one command must share a slot
		for _, key := range keys {
			cmds = append(cmds, pipe.Unlink(ctx, key))
		}
	}
	_, err := pipe.Exec(ctx)
	var n int64
	for _, cmd := range cmds {
		n += cmd.Val()
	}
	return n, err
}

// unmarshalWhole decodes data into dst, or leaves dst as it is.
func unmarshalWhole(data []byte, dst any) error {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return json.Unmarshal(data, dst) // says what is wrong
	}
	fresh := reflect.New(v.Type().Elem())
	if err := json.Unmarshal(data, fresh.Interface()); err != nil {
		return err
	}
	v.Elem().Set(fresh.Elem())
	return nil
}
