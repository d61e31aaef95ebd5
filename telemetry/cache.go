package telemetry

import (
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"

	"github.com/pedro-go/pedro/rediscache"
)

// Cache is the option for [rediscache.New] that measures and traces commands,
// also those of the client of Cache.Redis, and so of the sessions.
//
// It is a hook of our own and not redisotel's, whose metrics have the names, and
// milliseconds, from before the conventions were stable, and whose spans show
// keys and values.
func (t *Telemetry) Cache() rediscache.Option { return rediscache.WithHook(&redisHook{t: t}) }

// adHoc stands for calls that belong to no namespace.
const adHoc = "(ad hoc)"

func (t *Telemetry) watchCache(name string, cache *rediscache.Cache) error {
	i := t.instruments()
	conns := t.connInstruments(i)
	status := i.gauge("pedro.cache.status", "1", "How much of Redis there is: 1 for the current state, 0 for the others")
	coherent := i.gauge("pedro.cache.coherent", "1", "Whether invalidations of all masters arrive: 1 or 0; without, near caches are not used")
	lookups := i.counter("pedro.cache.lookups", "{lookup}", "Values looked up, by where they were: near, redis, or nowhere (miss)")
	loads := i.counter("pedro.cache.loads", "{load}", "Calls of loaders, by how they ended")
	joined := i.counter("pedro.cache.loads.joined", "{lookup}", "Callers that waited for the load of another")
	stale := i.counter("pedro.cache.stale", "{lookup}", "Stale values that were served")
	failures := i.counter("pedro.cache.errors", "{error}", "Calls of Redis that failed")
	entries := i.gauge("pedro.cache.near.entries", "{entry}", "Values in the near cache")
	size := i.gauge("pedro.cache.near.size", "By", "Estimated size of the near cache")
	pending := i.gauge("pedro.cache.pending", "{key}", "Keys that Redis still has to be told about")
	forgotten := i.counter("pedro.cache.forgotten", "{key}", "Writes and deletes that missed Redis and could not be remembered")
	breaks := i.counter("pedro.cache.stream.breaks", "{break}", "How often the invalidation stream broke")
	used := i.gauge("pedro.cache.redis.memory.used", "By", "Memory used by Redis, all masters")
	limit := i.gauge("pedro.cache.redis.memory.limit", "By", "maxmemory of Redis, all masters; 0 for none")
	evicted := i.counter("pedro.cache.redis.evicted", "{key}", "Keys evicted by Redis since its start")

	cfg := cache.Config()
	return i.observed(func(o observer) {
		s := cache.Stats()
		node := poolName(name, "redis")
		system := semconv.DBSystemNameRedis
		o.number(conns.count, int64(s.Pool.IdleConns), system, node, semconv.DBClientConnectionStateIdle)
		o.number(conns.count, int64(s.Pool.TotalConns)-int64(s.Pool.IdleConns), system, node, semconv.DBClientConnectionStateUsed)
		o.number(conns.limit, int64(cfg.PoolSize), system, node)
		o.number(conns.idleMin, int64(max(cfg.MinIdleConns, 0)), system, node)
		o.number(conns.timeouts, int64(s.Pool.Timeouts), system, node)

		o.states(status, s.State.String(), []string{"new", "up", "degraded", "down"}, node)
		o.number(coherent, flag(s.Coherent), node)
		o.number(pending, int64(s.Pending), node)
		o.number(forgotten, int64(s.Forgotten), node)
		o.number(breaks, int64(s.StreamBreaks), node)
		if s.Memory.Known {
			o.number(used, int64(s.Memory.UsedBytes), node)
			o.number(limit, int64(s.Memory.MaxBytes), node)
			o.number(evicted, int64(s.Memory.Evicted), node)
		}
		rest := rediscache.NamespaceStats{
			Name: adHoc, NearHits: s.NearHits, Hits: s.Hits, Misses: s.Misses,
			Loads: s.Loads, LoadErrors: s.LoadErrors, Stale: s.StaleServed, Errors: s.Errors,
		}
		for _, n := range s.Namespaces {
			rest.NearHits, rest.Hits, rest.Misses = left(rest.NearHits, n.NearHits), left(rest.Hits, n.Hits), left(rest.Misses, n.Misses)
			rest.Loads, rest.LoadErrors = left(rest.Loads, n.Loads), left(rest.LoadErrors, n.LoadErrors)
			rest.Stale, rest.Errors = left(rest.Stale, n.Stale), left(rest.Errors, n.Errors)
		}
		for _, n := range append(s.Namespaces, rest) {
			space := keyNamespace.String(n.Name)
			o.number(lookups, int64(n.NearHits), node, space, keyOutcome.String("near"))
			o.number(lookups, int64(n.Hits), node, space, keyOutcome.String("redis"))
			o.number(lookups, int64(n.Misses), node, space, keyOutcome.String("miss"))
			o.number(failures, int64(n.Errors), node, space)
			if n.Name == adHoc {
				continue // it has no loaders and no near cache
			}
			o.number(loads, int64(left(n.Loads, n.LoadErrors)), node, space, keyOutcome.String("ok"))
			o.number(loads, int64(n.LoadErrors), node, space, keyOutcome.String("error"))
			o.number(joined, int64(n.Joined), node, space)
			o.number(stale, int64(n.Stale), node, space)
			o.number(entries, int64(n.NearEntries), node, space)
			o.number(size, int64(n.NearBytes), node, space)
		}
	})
}

// left is a-b. The counters are read one after another, so that b may be ahead.
func left(a, b uint64) uint64 { return a - min(a, b) }
