package rediscache

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// LoadMany is [Namespace.Load] for several keys: what is not cached is loaded
// with one call of load, which gets the keys that nobody else is loading
// already and returns the values that it found. Keys that it did not find are
// missing from the result, and remembered as such with [NegativeTTL].
//
// The settings of Load apply, except that [Exclusive] has no effect. Errors are
// those of Load; the result then holds the values that are known all the same. An
// error of the loader that is nothing but [ErrNotFound] counts as none.
func (n *Namespace[V]) LoadMany(ctx context.Context, keys []string, load func(ctx context.Context, keys []string) (map[string]V, error), opts ...LoadOption) (map[string]V, error) {
	e := n.settings.entry
	for _, opt := range opts {
		if opt != nil {
			opt.applyLoad(&e)
		}
	}
	founds, err := n.fetchMany(ctx, keys)
	away := err != nil
	if away && (founds == nil || !tolerable(ctx, err)) {
		return nil, opError("load many "+n.name, caused(ctx, err))
	}
	values := make(map[string]V, len(keys))
	m := manyLoad[V]{n: n, entry: &e, load: load, founds: founds, mine: map[string]*flight[V]{}, waiting: map[string]*flight[V]{}}
	var refresh []string
	now := time.Now()
	for key, f := range founds {
		if away && f.kind == foundNothing {
			if f = n.away(key); f.kind == foundNegative {
				continue
			}
		}
		f.away = away
		founds[key] = f
		switch {
		case f.kind == foundFresh:
			values[key] = f.value
			if e.early > 0 && f.due(e.early, now) {
				refresh = append(refresh, key)
			}
		case f.kind == foundNegative:
		case f.kind == foundStale && now.Before(f.stale.Add(e.staleFor)):
			n.counts.stale.Add(1)
			values[key] = f.value
			refresh = append(refresh, key)
		case f.kind == foundStale && now.Before(f.stale.Add(e.staleOnError)) && n.flights.shard(key).paused(key, now):
			n.counts.misses.Add(1)
			n.counts.stale.Add(1)
			values[key] = f.value
		default:
			n.counts.misses.Add(1)
			m.want(key)
		}
	}
	for _, key := range refresh {
		m.refresh(key)
	}
	m.start(ctx)
	return values, opError("load many "+n.name, m.collect(ctx, values))
}

// away returns what the process knows of a key while Redis is away.
func (n *Namespace[V]) away(key string) found[V] {
	if hit, ok := n.offlineGet(key); ok {
		return hit.found
	}
	f, _ := n.lastKnown(key)
	return f
}

// manyLoad is one call of LoadMany.
type manyLoad[V any] struct {
	n       *Namespace[V]
	entry   *entry
	load    func(ctx context.Context, keys []string) (map[string]V, error)
	founds  map[string]found[V]
	mine    map[string]*flight[V] // for this call to fly
	waiting map[string]*flight[V] // of mine and of others
}

// want loads a key, or waits for who does.
func (m *manyLoad[V]) want(key string) {
	one, mine := m.n.flights.shard(key).join(key)
	m.waiting[key] = one
	if mine {
		m.mine[key] = one
	} else {
		m.n.counts.dedup.Add(1)
	}
}

// refresh loads a key without waiting for it.
func (m *manyLoad[V]) refresh(key string) {
	shard := m.n.flights.shard(key)
	if shard.paused(key, time.Now()) {
		return
	}
	if one, mine := shard.join(key); mine {
		m.n.counts.refreshes.Add(1)
		m.mine[key] = one
	}
}

// start loads this call's keys in the background.
func (m *manyLoad[V]) start(ctx context.Context) {
	if len(m.mine) == 0 {
		return
	}
	if !m.n.cache.spawn(func(stop context.Context) {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), m.entry.loadTimeout, errLoadTimeout)
		defer cancel()
		defer context.AfterFunc(stop, cancel)()
		m.fly(ctx)
	}) {
		m.land(nil, ErrClosed)
	}
}

// fly calls the loader, stores what it returns and hands it out.
func (m *manyLoad[V]) fly(ctx context.Context) {
	keys := make([]string, 0, len(m.mine))
	store := true
	for key := range m.mine {
		keys = append(keys, key)
		store = store && !m.founds[key].away
	}
	began := time.Now()
	var vs versionsOf
	if store {
		var err error
		vs, err = m.n.standing(ctx, m.entry, m.entry.kept(m.entry.ttl))
		store = err == nil
	}
	seq := m.n.offlineSeq.Load()
	marks := map[string]uint64{}
	if !store {
		for _, key := range keys {
			marks[key] = m.n.offline().mark(key)
		}
	}
	var values map[string]V
	err := errLoaderGone
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
		m.land(values, err)
	}()
	values, err = m.call(ctx, keys)
	if err == nil && time.Since(began) <= min(m.entry.loadTimeout, m.n.settings.loadTimeout) {
		if store {
			m.store(context.WithoutCancel(ctx), values, vs)
		} else {
			for _, key := range keys {
				value, ok := values[key]
				m.n.offlineFill(key, value, !ok, marks[key], seq)
			}
		}
	}
}

// call calls the loader, and survives it.
func (m *manyLoad[V]) call(ctx context.Context, keys []string) (values map[string]V, err error) {
	counts := m.n.counts
	counts.loads.Add(1)
	began := time.Now()
	defer func() {
		counts.loadTime.Observe(time.Since(began))
		if v := recover(); v != nil {
			counts.loadPanics.Add(1)
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
		if onlyNotFound(err) {
			err = nil
		}
		if err != nil {
			counts.loadErrors.Add(1)
		}
	}()
	return m.load(ctx, slices.Clone(keys))
}

// onlyNotFound reports whether an error says nothing but that something was not
// found. Of several that were joined, another may be why.
func onlyNotFound(err error) bool {
	switch e := err.(type) { //nolint:errorlint // it goes through the tree
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !onlyNotFound(err) })
	case interface{ Unwrap() error }:
		return onlyNotFound(e.Unwrap())
	default:
		return err == ErrNotFound //nolint:errorlint // the leaf itself
	}
}

// store writes back what was loaded, and that nothing was.
func (m *manyLoad[V]) store(ctx context.Context, values map[string]V, vs versionsOf) {
	var writes []conditionalWrite
	for key, flight := range m.mine {
		if flight.dropped.Load() {
			m.n.counts.notWritten.Add(1)
			continue
		}
		value, ok := values[key]
		data, keep, err := m.n.stored(m.entry, value, !ok, vs)
		if err != nil {
			m.n.counts.errors.Add(1)
		} else if data != nil {
			f := m.founds[key]
			writes = append(writes, conditionalWrite{keyWrite{key: m.n.prefix + key, data: data, ttl: keep}, f.seal})
		}
	}
	stored, failed, _ := m.n.cache.writeIfMany(ctx, writes)
	m.n.counts.errors.Add(uint64(failed))
	m.n.counts.notWritten.Add(uint64(len(writes) - stored - failed))
}

// land ends this call's flights.
func (m *manyLoad[V]) land(values map[string]V, err error) {
	for key, flight := range m.mine {
		shard := m.n.flights.shard(key)
		value, ok := values[key]
		switch {
		case err != nil:
			shard.pause(key, time.Now().Add(DefaultErrorPause))
			shard.land(key, flight, value, err)
		case !ok:
			shard.land(key, flight, value, ErrNotFound)
		default:
			shard.land(key, flight, value, nil)
		}
	}
}

// collect waits for the flights and adds what they bring to values.
func (m *manyLoad[V]) collect(ctx context.Context, values map[string]V) error {
	var failed error
	soft := make(chan struct{})
	if m.entry.softTimeout > 0 {
		defer time.AfterFunc(m.entry.softTimeout, func() { close(soft) }).Stop()
	}
	for key, flight := range m.waiting {
		f := m.founds[key]
		until := soft
		if f.kind != foundStale || !time.Now().Before(f.stale.Add(max(m.entry.staleFor, m.entry.staleOnError))) {
			until = nil
		}
		select {
		case <-flight.done:
		case <-until:
			m.n.counts.stale.Add(1)
			values[key] = f.value
			continue
		case <-ctx.Done():
			return fmt.Errorf("waiting: %w", context.Cause(ctx))
		}
		switch {
		case flight.err == nil:
			values[key] = flight.value
		case onlyNotFound(flight.err):
		case f.kind == foundStale && time.Now().Before(f.stale.Add(max(m.entry.staleFor, m.entry.staleOnError))):
			m.n.counts.stale.Add(1)
			values[key] = f.value
		case failed == nil:
			failed = flight.err
		}
	}
	return failed
}
