package rediscache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// scanCount is the number of keys that SCAN looks at a time. Larger pages were
// not faster, and each one stops other callers for its time.
const scanCount = 500

// A ClearOption is a setting of [Cache.ClearPattern].
type ClearOption func(*clearOptions)

type clearOptions struct {
	progress func(deleted int64)
	rate     int
}

// ClearProgress has f called with the number of keys deleted so far, about
// every 500 keys looked at on a node, one call at a time.
func ClearProgress(f func(deleted int64)) ClearOption {
	return func(o *clearOptions) { o.progress = f }
}

// ClearRate bounds the work to n keys looked at per second and node, to leave
// the rest of Redis' one thread to others. The default, 0, does not bound it:
// other callers then wait some milliseconds.
func ClearRate(n int) ClearOption {
	return func(o *clearOptions) { o.rate = max(n, 0) }
}

// ClearPattern deletes all keys that match a glob-style pattern (user:*), on
// every master of a Cluster, and returns how many it deleted. It looks at every
// key of the database: for the keys of a namespace [Namespace.Clear] takes one
// command. Keys written meanwhile may survive.
//
// It goes through the keys with SCAN, and deletes a page with UNLINK in the
// same round trip in which it asks for the next; KEYS, which stops Redis for
// seconds, is never used. An empty pattern is an error. It runs as long as ctx
// lets it. Interrupted, it returns what it deleted so far and an error that
// wraps the cause.
func (c *Cache) ClearPattern(ctx context.Context, pattern string, opts ...ClearOption) (int64, error) {
	if pattern == "" || len(pattern) > maxKeyLen {
		return 0, opError("clear", errors.New("empty or oversized pattern"))
	}
	var o clearOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	run := clearRun{pattern: pattern, options: o, touched: c.coherence.touched}
	var err error
	switch client := c.link.client.(type) {
	case *redis.ClusterClient:
		run.apart = true
		if err = client.ForEachMaster(ctx, run.guarded); run.ended.Load() {
			err = errors.New("ClearProgress ended its goroutine")
		}
		if v := run.panicked.Load(); v != nil {
			panic(*v) // as with a single server
		}
	case *redis.Client:
		err = run.node(ctx, client)
	}
	// Servers without tracking tell nobody; those with have told already.
	c.publish(context.WithoutCancel(ctx), "")
	return run.deleted.Load(), opError("clear", caused(ctx, err))
}

// clearRun is one ClearPattern on all its nodes.
type clearRun struct {
	pattern string
	options clearOptions
	touched func(key string) // has this process forget a key
	apart   bool             // keys of one command would have to share a slot
	deleted atomic.Int64
	mu      sync.Mutex // one call of progress at a time

	panicked atomic.Pointer[any] // on a goroutine that is not the caller's
	ended    atomic.Bool         // by runtime.Goexit
}

// guarded is node on a goroutine of go-redis, on which a panic would end the
// process, and which nobody would miss.
func (r *clearRun) guarded(ctx context.Context, client *redis.Client) error {
	returned := false
	defer func() {
		if v := recover(); v != nil {
			r.panicked.Store(&v)
		} else if !returned {
			r.ended.Store(true)
		}
	}()
	err := r.node(ctx, client)
	returned = true
	return err
}

// node deletes the matching keys of one node.
func (r *clearRun) node(ctx context.Context, client *redis.Client) error {
	var page []string
	var cursor uint64
	for last := false; ; last = cursor == 0 {
		began := time.Now()
		pipe := client.Pipeline()
		unlinked := r.unlink(ctx, pipe, page)
		var scanned *redis.ScanCmd
		if !last {
			scanned = pipe.Scan(ctx, cursor, r.pattern, scanCount)
		}
		if pipe.Len() > 0 {
			_, err := pipe.Exec(ctx)
			for _, key := range page {
				r.touched(key)
			}
			r.count(unlinked)
			if err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		page, cursor = scanned.Val()
		if cursor == 0 {
			continue // there is no page to wait for
		}
		if err := r.pace(ctx, began); err != nil {
			return err
		}
	}
}

// unlink adds the deletion of a page to a pipeline.
func (r *clearRun) unlink(ctx context.Context, pipe redis.Pipeliner, page []string) []*redis.IntCmd {
	if len(page) == 0 {
		return nil
	}
	if !r.apart {
		return []*redis.IntCmd{pipe.Unlink(ctx, page...)}
	}
	cmds := make([]*redis.IntCmd, len(page))
	for i, key := range page {
		cmds[i] = pipe.Unlink(ctx, key)
	}
	return cmds
}

func (r *clearRun) count(cmds []*redis.IntCmd) {
	var n int64
	for _, cmd := range cmds {
		n += cmd.Val()
	}
	r.add(n)
}

func (r *clearRun) add(n int64) {
	total := r.deleted.Add(n)
	if r.options.progress != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.options.progress(total)
	}
}

func (r *clearRun) pace(ctx context.Context, began time.Time) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	if r.options.rate == 0 {
		return nil
	}
	pause := time.Duration(scanCount)*time.Second/time.Duration(r.options.rate) - time.Since(began)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
}
