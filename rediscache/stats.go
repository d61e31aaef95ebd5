package rediscache

import "sync/atomic"

// counts are the counters of a namespace or, summed, of a cache. Each is only
// ever added to.
type counts struct {
	nearHits, hits, misses            atomic.Uint64
	loads, loadErrors, loadPanics     atomic.Uint64
	stale, refreshes, negative, dedup atomic.Uint64
	sets, dels, errors                atomic.Uint64
	undecodable, notWritten           atomic.Uint64
	remembered, replayed              atomic.Uint64
}
