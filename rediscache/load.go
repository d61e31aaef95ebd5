package rediscache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	errLoadTimeout = errors.New("the loader took longer than LoadTimeout")
	errLoaderGone  = errors.New("the loader ended its goroutine")
)

// Load returns the value under key, and if there is none, or only a stale one,
// calls load for it and stores the result.
//
// However many callers want the key, in this process one load runs (with
// [Exclusive], in all processes). It runs on a context of its own, which has
// the values of the first caller's and ends after [LoadTimeout]: a caller that
// gives up gives up alone. A panic of the loader becomes a [PanicError] for all
// who wait. What is written or deleted while the load runs wins: the load's
// result goes to those who wait already and is not stored.
//
// While Redis is away Load goes on with the near cache and the loader; results
// are kept in the process for a moment, so that the loader is spared.
//
// Errors: [ErrNotFound] if the loader said so, [ErrLoaderPanic], the cause of
// ctx, and what else the loader returns. An unavailable Redis is no error here,
// nor is what else Redis may answer.
//
// A loader that loads its own key waits for itself, until LoadTimeout if it
// passes on its context, otherwise for as long as the one that it passes on.
func (n *Namespace[V]) Load(ctx context.Context, key string, load func(ctx context.Context, key string) (V, error), opts ...LoadOption) (V, error) {
	e := &n.settings.entry
	if len(opts) > 0 {
		own := n.settings.entry
		for _, opt := range opts {
			if opt != nil {
				opt.applyLoad(&own)
			}
		}
		e = &own
	}
	if hit := n.nearGet(key); hit != nil && (e.early == 0 || !hit.due(e.early, time.Now())) {
		n.counts.nearHits.Add(1)
		if hit.kind == foundNegative {
			n.counts.negative.Add(1)
			return hit.value, ErrNotFound
		}
		return hit.value, nil
	}
	if err := checkKey(key); err != nil {
		var zero V
		return zero, opError("load "+n.name, err)
	}
	shard := n.flights.shard(key)
	landed := shard.landed.Load()
	f, err := n.fetch(ctx, key)
	if err != nil {
		if !tolerable(ctx, err) {
			return f.value, opError("load "+n.name, caused(ctx, err))
		}
		if hit, ok := n.offlineGet(key); ok {
			n.counts.nearHits.Add(1)
			if hit.kind == foundNegative {
				return hit.value, ErrNotFound
			}
			return hit.value, nil
		}
		f, _ = n.lastKnown(key)
		f.away = true
	}
	job := loadJob[V]{key: key, load: load, entry: e, found: f, shard: shard, landed: landed}
	now := time.Now()
	switch f.kind {
	case foundFresh:
		n.counts.hits.Add(1)
		if e.early > 0 && f.due(e.early, now) {
			n.refresh(ctx, job)
		}
		return f.value, nil
	case foundNegative:
		n.counts.hits.Add(1)
		n.counts.negative.Add(1)
		return f.value, ErrNotFound
	case foundStale:
		n.counts.misses.Add(1)
		if now.Before(f.stale.Add(e.staleFor)) {
			n.counts.stale.Add(1)
			n.refresh(ctx, job)
			return f.value, nil
		}
		if now.Before(f.stale.Add(e.staleOnError)) && shard.paused(key, now) {
			n.counts.stale.Add(1)
			return f.value, nil
		}
	default:
		n.counts.misses.Add(1)
	}
	return n.await(ctx, job)
}

// tolerable reports whether Load can do without Redis' answer.
func tolerable(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !errors.Is(err, redis.ErrClosed)
}

// caused adds why ctx has ended to the error of a call that ended with it.
func caused(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), err)
}

// A loadJob is what a load needs to know.
type loadJob[V any] struct {
	key    string
	load   func(ctx context.Context, key string) (V, error)
	entry  *entry
	found  found[V] // what was there before
	shard  *flightShard[V]
	landed uint64
}

// due reports whether so much of the lifetime is over that a value in use
// should be renewed.
func (f *found[V]) due(part float64, now time.Time) bool {
	if f.stale.IsZero() {
		return false
	}
	life := f.stale.Sub(f.created)
	return now.Sub(f.created) >= time.Duration(float64(life)*part)
}

// refresh loads in the background, unless somebody does already or the loader
// failed just now.
func (n *Namespace[V]) refresh(ctx context.Context, job loadJob[V]) {
	if job.shard.paused(job.key, time.Now()) {
		return
	}
	if flight, mine := job.shard.join(job.key); mine {
		n.counts.refreshes.Add(1)
		n.fly(ctx, job, flight)
	}
}

// await waits for the load of a key, and starts it if nobody has.
func (n *Namespace[V]) await(ctx context.Context, job loadJob[V]) (V, error) {
	flight, mine := job.shard.join(job.key)
	if mine {
		n.fly(ctx, job, flight)
	} else {
		n.counts.dedup.Add(1)
	}
	e, f := job.entry, &job.found
	usable := f.kind == foundStale && time.Now().Before(f.stale.Add(max(e.staleFor, e.staleOnError)))
	var soft <-chan time.Time
	if usable && e.softTimeout > 0 {
		timer := time.NewTimer(e.softTimeout)
		defer timer.Stop()
		soft = timer.C
	}
	select {
	case <-flight.done:
	case <-soft:
		n.counts.stale.Add(1)
		return f.value, nil
	case <-ctx.Done():
		var zero V
		return zero, fmt.Errorf("rediscache: load %s: %w", n.name, context.Cause(ctx))
	}
	switch {
	case flight.err == nil:
		return flight.value, nil
	case onlyNotFound(flight.err):
		return flight.value, ErrNotFound
	case usable:
		n.counts.stale.Add(1)
		return f.value, nil
	default:
		return flight.value, fmt.Errorf("rediscache: load %s: %w", n.name, flight.err)
	}
}

// fly runs a load in the background, detached from the caller's context.
func (n *Namespace[V]) fly(ctx context.Context, job loadJob[V], flight *flight[V]) {
	e := *job.entry // the caller's copy may be gone
	job.entry = &e
	started := n.cache.spawn(func(stop context.Context) {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), e.loadTimeout, errLoadTimeout)
		defer cancel()
		defer context.AfterFunc(stop, cancel)()
		var value V
		err := errLoaderGone
		defer func() { // also when the loader ends its goroutine, or the codec panics
			if v := recover(); v != nil {
				err = &PanicError{Value: v, Stack: debug.Stack()}
			}
			switch {
			case errors.Is(err, ErrNotFound):
				err = ErrNotFound // whatever else the loader says of it
			case err != nil:
				job.shard.pause(job.key, time.Now().Add(DefaultErrorPause))
			}
			job.shard.land(job.key, flight, value, err)
		}()
		value, err = n.obtain(ctx, job, flight)
	})
	if !started {
		var zero V
		job.shard.land(job.key, flight, zero, ErrClosed)
	}
}

// obtain gets the value: from whoever stored it meanwhile, or by loading.
func (n *Namespace[V]) obtain(ctx context.Context, job loadJob[V], flight *flight[V]) (V, error) {
	if !job.found.away && job.shard.landed.Load() != job.landed {
		// A load ended after we looked: it may have been this key's.
		if f, err := n.fetch(ctx, job.key); err == nil {
			if value, err, ok := f.answer(); ok && !due(&f, &job) {
				return value, err
			}
			job.found.seal = f.seal
		}
	}
	if job.entry.lease > 0 && !job.found.away {
		return n.obtainExclusively(ctx, job, flight)
	}
	return n.loadAndStore(ctx, job, flight)
}

// answer returns what Load would return for a fresh entry.
func (f *found[V]) answer() (V, error, bool) {
	switch f.kind {
	case foundFresh:
		return f.value, nil, true
	case foundNegative:
		return f.value, ErrNotFound, true
	default:
		var zero V
		return zero, nil, false
	}
}

// loadAndStore calls the loader and stores what it returns, unless the key was
// changed since it was looked at.
func (n *Namespace[V]) loadAndStore(ctx context.Context, job loadJob[V], flight *flight[V]) (V, error) {
	began := time.Now()
	store := !job.found.away
	var vs versionsOf
	if store {
		// Before the loader reads: what is voided from now on shall void this.
		var err error
		if vs, err = n.standing(ctx, job.entry, job.entry.kept(job.entry.ttl)); err != nil {
			store = false
			n.counts.errors.Add(1)
		}
	}
	var mark, seq uint64
	if !store {
		seq = n.offlineSeq.Load()
		mark = n.offline().mark(job.key)
	}
	value, err := n.callLoader(ctx, job)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return value, err
	}
	// A tombstone lives for longer than LoadTimeout, a loader that ignores
	// its context may not: then a Del could have gone unnoticed.
	late := time.Since(began) > min(job.entry.loadTimeout, n.settings.loadTimeout)
	switch {
	case flight.dropped.Load() || late:
		n.counts.notWritten.Add(1)
	case store:
		n.storeLoaded(context.WithoutCancel(ctx), job, vs, value, err != nil)
	default:
		n.offlineFill(job.key, value, err != nil, mark, seq)
	}
	return value, err
}

// stored makes the stored form of a load's result; nil if it is not to be
// stored.
func (n *Namespace[V]) stored(e *entry, value V, negative bool, vs versionsOf) (data []byte, keep time.Duration, err error) {
	if negative {
		if e.negativeTTL == 0 {
			return nil, 0, nil
		}
		env := newEnvelope(time.Now())
		env.flags, env.fresh, env.gen, env.tags = flagNegative, e.negativeTTL, vs.gen, vs.tags
		return env.append(nil), e.negativeTTL, nil
	}
	ttl := e.jittered()
	data, err = n.encode(value, ttl, vs)
	return data, e.kept(ttl), err
}

// storeLoaded writes a load's result back. Its failure is not the caller's.
func (n *Namespace[V]) storeLoaded(ctx context.Context, job loadJob[V], vs versionsOf, value V, negative bool) {
	data, keep, err := n.stored(job.entry, value, negative, vs)
	if err != nil {
		n.counts.errors.Add(1)
		return
	}
	if data == nil {
		return
	}
	stored, err := n.cache.writeIf(ctx, n.prefix+job.key, job.found.seal, data, keep)
	switch {
	case err != nil:
		n.counts.errors.Add(1)
	case !stored:
		n.counts.notWritten.Add(1)
	default:
		n.cache.publish(ctx, n.prefix+job.key)
	}
}

// callLoader calls the loader, and survives it.
func (n *Namespace[V]) callLoader(ctx context.Context, job loadJob[V]) (value V, err error) {
	n.counts.loads.Add(1)
	began := time.Now()
	defer func() {
		n.counts.loadTime.Observe(time.Since(began))
		if v := recover(); v != nil {
			n.counts.loadPanics.Add(1)
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			n.counts.loadErrors.Add(1)
		}
	}()
	value, err = job.load(ctx, job.key)
	if err != nil && errors.Is(err, ctx.Err()) {
		err = caused(ctx, err)
	}
	return value, err
}
