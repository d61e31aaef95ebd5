package rediscache

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pedro-go/pedro/internal/histogram"
)

// counts are the counters of a namespace, or of the ad hoc calls of a cache.
// Each is only ever added to.
type counts struct {
	nearHits, hits, misses            atomic.Uint64
	loads, loadErrors, loadPanics     atomic.Uint64
	stale, refreshes, negative, dedup atomic.Uint64
	sets, dels, errors                atomic.Uint64
	undecodable, notWritten           atomic.Uint64
	remembered, replayed, forgotten   atomic.Uint64

	loadTime histogram.Histogram
	recent   window
}

// window holds the hits and misses as they stood every windowStep.
type window struct {
	mu    sync.Mutex
	ring  [windowSteps]ratioMark
	next  int
	taken int
}

type ratioMark struct{ hits, misses uint64 }

const (
	windowStep  = 10 * time.Second
	windowSteps = 6
)

// NamespaceStats are the counters of one [Namespace] since it was made. They
// are read one after another, so they may not add up to the last unit.
type NamespaceStats struct {
	Name string

	NearHits uint64 // answered from the process
	Hits     uint64 // answered by Redis
	Misses   uint64 // answered by neither

	HitRatio       float64 // hits of both kinds among all, since the start; 0 without any
	HitRatioRecent float64 // the same for the last minute

	Loads      uint64 // calls of loaders
	LoadErrors uint64 // …that failed, without those that found nothing
	LoadPanics uint64
	Joined     uint64 // callers of Load that waited for the load of another
	Refreshes  uint64 // loads in the background, because a value was stale or about to be
	Stale      uint64 // stale values returned by Load
	Negative   uint64 // Loads answered by the knowledge that there is nothing

	LoadP50, LoadP95, LoadP99 time.Duration // time in the loader; 0 without loads

	Sets, Dels  uint64
	Errors      uint64 // calls of Redis that failed
	Undecodable uint64 // stored values that were not understood, and so missed
	NotWritten  uint64 // results of loads that were not stored, because the key changed meanwhile

	NearEntries int    // in the process now
	NearBytes   uint64 // their estimated size
}

// Stats returns the counters of the namespace.
func (n *Namespace[V]) Stats() NamespaceStats {
	s := n.counts.stats(n.name)
	if n.near != nil {
		s.NearEntries, s.NearBytes = n.near.entries.EstimatedSize(), n.near.entries.WeightedSize()
	}
	return s
}

func (c *counts) stats(name string) NamespaceStats {
	s := NamespaceStats{
		Name:     name,
		NearHits: c.nearHits.Load(), Hits: c.hits.Load(), Misses: c.misses.Load(),
		Loads: c.loads.Load(), LoadErrors: c.loadErrors.Load(), LoadPanics: c.loadPanics.Load(),
		Joined: c.dedup.Load(), Refreshes: c.refreshes.Load(), Stale: c.stale.Load(), Negative: c.negative.Load(),
		Sets: c.sets.Load(), Dels: c.dels.Load(), Errors: c.errors.Load(),
		Undecodable: c.undecodable.Load(), NotWritten: c.notWritten.Load(),
	}
	hits := s.NearHits + s.Hits
	s.HitRatio = ratio(hits, s.Misses)
	before := c.recent.oldest()
	s.HitRatioRecent = ratio(hits-min(before.hits, hits), s.Misses-min(before.misses, s.Misses))
	load := c.loadTime.Snapshot()
	s.LoadP50, s.LoadP95, s.LoadP99 = load.Quantile(0.5), load.Quantile(0.95), load.Quantile(0.99)
	return s
}

func ratio(hits, misses uint64) float64 {
	if hits+misses == 0 {
		return 0
	}
	return float64(hits) / float64(hits+misses)
}

// oldest returns the counters as they stood a minute ago, or at the start.
func (w *window) oldest() ratioMark {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.taken < windowSteps {
		return ratioMark{}
	}
	return w.ring[w.next]
}

func (w *window) take(m ratioMark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ring[w.next] = m
	w.next = (w.next + 1) % windowSteps
	w.taken++
}

// Stats is the state of a [Cache], its pool and its namespaces.
type Stats struct {
	State State
	Cause string // why State is not up; without secrets

	NearHits, Hits, Misses uint64  // of all namespaces and ad hoc calls
	HitRatio               float64 // since the start
	HitRatioRecent         float64 // in the last minute
	Loads, LoadErrors      uint64
	StaleServed            uint64
	Errors                 uint64

	Pending    int    // keys that Redis still has to be told about
	Remembered uint64 // writes and deletes that missed Redis…
	Replayed   uint64 // …and were made up for
	Forgotten  uint64 // …and could not be remembered: too many

	Coherent      bool   // invalidations of all masters arrive; without, near caches are not used
	Invalidations uint64 // received
	StreamBreaks  uint64 // how often their stream broke

	Pool PoolStats

	Memory MemoryStats // as of the last look, some seconds ago

	Namespaces []NamespaceStats // by name
}

// PoolStats are those of the connections, of all nodes together.
type PoolStats struct {
	TotalConns, IdleConns uint32
	Timeouts, WaitCount   uint32 // callers that waited for a connection, in vain or at all
	StaleConns            uint32 // connections found dead or too old
}

// Stats returns the state and counters of the cache. It does not talk to Redis.
func (c *Cache) Stats() Stats {
	state, cause := c.link.gates.state()
	_, coherent := c.coherence.live()
	s := Stats{
		State:    state,
		Pending:  int(c.pending.count.Load()),
		Coherent: coherent, Invalidations: c.coherence.invalidations.Load(), StreamBreaks: c.coherence.breaks.Load(),
		Remembered: c.counts.remembered.Load(), Replayed: c.counts.replayed.Load(), Forgotten: c.counts.forgotten.Load(),
		Memory: c.memory.last(),
	}
	if cause != nil {
		s.Cause = cause.Error()
	}
	if p := c.link.client.PoolStats(); p != nil {
		s.Pool = PoolStats{TotalConns: p.TotalConns, IdleConns: p.IdleConns, Timeouts: p.Timeouts, WaitCount: p.WaitCount, StaleConns: p.StaleConns}
	}
	c.namesMu.Lock()
	all := slices.Clone(c.namespaces)
	c.namesMu.Unlock()
	var recentHits, recentMisses uint64
	for _, one := range append(all, namedCounts{counts: &c.counts}) {
		ns := one.counts.stats(one.name)
		if one.near != nil {
			ns.NearEntries, ns.NearBytes = one.near()
		}
		if one.counts != &c.counts {
			s.Namespaces = append(s.Namespaces, ns)
		}
		s.NearHits += ns.NearHits
		s.Hits += ns.Hits
		s.Misses += ns.Misses
		s.Loads += ns.Loads
		s.LoadErrors += ns.LoadErrors
		s.StaleServed += ns.Stale
		s.Errors += ns.Errors
		before := one.counts.recent.oldest()
		recentHits += before.hits
		recentMisses += before.misses
	}
	s.HitRatio = ratio(s.NearHits+s.Hits, s.Misses)
	s.HitRatioRecent = ratio(s.NearHits+s.Hits-recentHits, s.Misses-recentMisses)
	slices.SortFunc(s.Namespaces, func(a, b NamespaceStats) int { return cmpNames(a.Name, b.Name) })
	return s
}

func cmpNames(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// namedCounts are those of one namespace.
type namedCounts struct {
	name   string
	counts *counts
	near   func() (entries int, bytes uint64)
}

func (c *Cache) register(one namedCounts, waitForWarm bool) {
	c.namesMu.Lock()
	defer c.namesMu.Unlock()
	c.namespaces = append(c.namespaces, one)
	if waitForWarm {
		if c.cold == nil {
			c.cold = map[string]struct{}{}
		}
		c.cold[one.name] = struct{}{}
	}
}

// watch looks at the counters and at Redis' memory from time to time.
func (c *Cache) watch(ctx context.Context) {
	tick := time.NewTicker(windowStep)
	defer tick.Stop()
	for {
		c.memory.look(ctx, c)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.namesMu.Lock()
		all := slices.Clone(c.namespaces)
		c.namesMu.Unlock()
		for _, one := range append(all, namedCounts{counts: &c.counts}) {
			k := one.counts
			k.recent.take(ratioMark{hits: k.nearHits.Load() + k.hits.Load(), misses: k.misses.Load()})
		}
	}
}
