package rediscache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// ErrWarming is returned by [Cache.Ready] while a namespace is not warm yet.
var ErrWarming = errors.New("rediscache: warming up")

// warmBatch is the number of values that Warm stores in one round trip.
const warmBatch = 200

// A WarmOption is a setting of [Namespace.Warm].
type WarmOption func(*warmOptions)

type warmOptions struct {
	progress func(done int)
	budget   time.Duration
	limit    int
}

// WarmProgress has f called with the number of values handled so far, after
// each batch of 200.
func WarmProgress(f func(done int)) WarmOption {
	return func(o *warmOptions) { o.progress = f }
}

// WarmBudget ends Warm after d, without an error: what is not warm by then
// will be loaded when it is asked for. The default, 0, does not.
func WarmBudget(d time.Duration) WarmOption {
	return func(o *warmOptions) { o.budget = max(d, 0) }
}

// WarmLimit ends Warm after n values, without an error. The default, 0, does
// not.
func WarmLimit(n int) WarmOption {
	return func(o *warmOptions) { o.limit = max(n, 0) }
}

// ReadyAfterWarm has [Cache.Ready] wait for the end of the namespace's first
// Warm.
func ReadyAfterWarm() NamespaceOption {
	return namespaceOption(func(s *settings) { s.waitForWarm = true })
}

// Warm fills the cache ahead of use, with what items yields. A key under which
// there is a fresh value already, or the knowledge that the loader finds nothing,
// or that was deleted just now, is left alone: that may be newer than what was
// read for Warm. It returns when items ends, at the first error, when ctx is
// done, or when [WarmBudget] or [WarmLimit] is used up. However it ends, the
// namespace no longer holds up [Cache.Ready].
func (n *Namespace[V]) Warm(ctx context.Context, items iter.Seq2[string, V], opts ...WarmOption) error {
	var o warmOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	defer n.cache.warmed(n.name)
	var end time.Time
	if o.budget > 0 {
		end = time.Now().Add(o.budget)
	}
	e := n.settings.entry
	vs, err := n.standing(ctx, &e, e.kept(e.ttl))
	if err != nil {
		return opError("warm "+n.name, err)
	}
	done := 0
	var batch []conditionalWrite
	flush := func() error {
		if err := n.storeAhead(ctx, batch); err != nil {
			return caused(ctx, err)
		}
		if len(batch) == 0 {
			return nil
		}
		done += len(batch)
		batch = batch[:0]
		if o.progress != nil {
			o.progress(done)
		}
		return nil
	}
	for key, value := range items {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("rediscache: warm %s: after %d values: %w", n.name, done, context.Cause(ctx))
		}
		if o.limit > 0 && done+len(batch) >= o.limit || !end.IsZero() && time.Now().After(end) {
			break
		}
		if err := checkKey(key); err != nil {
			return opError("warm "+n.name, err)
		}
		data, keep, err := n.stored(&e, value, false, vs)
		if err != nil {
			return opError("warm "+n.name, err)
		}
		batch = append(batch, conditionalWrite{keyWrite: keyWrite{key: n.prefix + key, data: data, ttl: keep}})
		if len(batch) == warmBatch {
			if err := flush(); err != nil {
				return opError("warm "+n.name, err)
			}
		}
	}
	return opError("warm "+n.name, flush())
}

// storeAhead stores a batch of Warm, in place of nothing, or of what is void or
// stale.
func (n *Namespace[V]) storeAhead(ctx context.Context, batch []conditionalWrite) error {
	if len(batch) == 0 {
		return nil
	}
	keys := make([]string, len(batch))
	for i, w := range batch {
		keys[i] = w.key
	}
	stored, err := n.cache.readMany(ctx, keys)
	if err != nil {
		return err
	}
	founds, err := n.judgeMany(ctx, stored)
	if err != nil {
		return err
	}
	var writes []conditionalWrite
	for i, f := range founds {
		if !f.buried && (f.kind == foundNothing || f.kind == foundStale) {
			w := batch[i]
			w.seal = f.seal
			writes = append(writes, w)
		}
	}
	if _, failed, err := n.cache.writeIfMany(ctx, writes); failed > 0 {
		n.counts.errors.Add(uint64(failed))
		return fmt.Errorf("%d of %d values not stored: %w", failed, len(batch), err)
	}
	return nil
}

// Ready returns nil once every namespace made with [ReadyAfterWarm] is warm,
// else an error that wraps [ErrWarming] and names one. It is a readiness check
// and does not talk to Redis.
func (c *Cache) Ready(context.Context) error {
	c.namesMu.Lock()
	defer c.namesMu.Unlock()
	for name := range c.cold {
		return fmt.Errorf("%w: %s", ErrWarming, name)
	}
	return nil
}

func (c *Cache) warmed(name string) {
	c.namesMu.Lock()
	defer c.namesMu.Unlock()
	delete(c.cold, name)
}
