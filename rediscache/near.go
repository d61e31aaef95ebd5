package rediscache

import (
	"math"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// The defaults of the near cache.
const (
	// DefaultNearTTL bounds how long a value is served from the process.
	// Invalidations come sooner; this is for what they cannot know.
	DefaultNearTTL = 5 * time.Minute
	// DefaultOfflineTTL is how long the result of a load spares the loader
	// while Redis is away.
	DefaultOfflineTTL = 5 * time.Second
	// offlineEntries bounds the results that a namespace without a near cache
	// keeps while Redis is away.
	offlineEntries = 10_000
)

// Near keeps up to entries decoded values of the namespace in the process, and
// no more than [Config].NearBytes of them. A hit costs no network and no
// allocation. The values are shared by all who get them: treat what they point
// to as read-only.
//
// Other processes' writes, and those of any other program, invalidate them
// within milliseconds, by server-assisted tracking over a connection of its
// own; where a server has no tracking, processes tell each other by pub/sub,
// and only writes of this package are noticed. While that connection is down
// the near cache is not used. This process' own writes are never followed by
// an older value.
func Near(entries int) NamespaceOption {
	return namespaceOption(func(s *settings) { s.nearEntries = max(entries, 0) })
}

// NearTTL bounds the time that the near cache of a namespace keeps a value,
// which is never longer than its TTL. The default, also for 0 and less, is
// [DefaultNearTTL].
func NearTTL(d time.Duration) NamespaceOption {
	return namespaceOption(func(s *settings) {
		if s.nearTTL = d; d <= 0 {
			s.nearTTL = DefaultNearTTL
		}
	})
}

// A nearEntry is a value in the process. It is never changed.
type nearEntry[V any] struct {
	found[V]

	epoch   uint64 // of coherence, in which it was read; offlineSeq if offline
	until   int64  // nanoseconds since 1970
	size    uint32
	offline bool // from the loader, while Redis was away
}

// A near cache keeps decoded values of one namespace.
type near[V any] struct {
	entries *otter.Cache[string, *nearEntry[V]]
	stripes [256]nearStripe
}

// A nearStripe orders fills and invalidations of the keys that share it: a
// value that was read before an invalidation is not stored after it.
type nearStripe struct {
	mu  sync.Mutex
	seq uint64
}

// newNear returns a near cache of at most so many entries and bytes.
func newNear[V any](entries int, bytes int64) *near[V] {
	// One bound does for both: no entry counts for less than its share.
	share := max(bytes/int64(max(entries, 1)), 1)
	cache := otter.Must(&otter.Options[string, *nearEntry[V]]{
		MaximumWeight: uint64(bytes),
		Weigher: func(key string, e *nearEntry[V]) uint32 {
			return uint32(min(max(int64(len(key))+int64(e.size), share), math.MaxUint32))
		},
	})
	return &near[V]{entries: cache}
}

// stripe picks by FNV-1a, which needs no allocation and no seed: a flood of
// chosen keys only shares a lock.
func (c *near[V]) stripe(key string) *nearStripe {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return &c.stripes[h%uint32(len(c.stripes))]
}

// mark is taken before reading what a fill will store.
func (c *near[V]) mark(key string) uint64 {
	s := c.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq
}

// fill stores an entry unless its key was invalidated since mark.
func (c *near[V]) fill(key string, e *nearEntry[V], mark uint64) {
	s := c.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seq == mark {
		c.entries.Set(key, e)
	}
}

// drop invalidates a key.
func (c *near[V]) drop(key string) {
	s := c.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	c.entries.Invalidate(key)
}

// overhead is what an entry costs beside the encoded size of its value, which
// stands for its size in memory.
const overhead = 160

// nearGet returns what the near cache has, if it may be used.
func (n *Namespace[V]) nearGet(key string) *nearEntry[V] {
	if n.near == nil {
		return nil
	}
	e, ok := n.near.entries.GetIfPresent(key)
	if !ok || e.offline {
		return nil
	}
	epoch, live := n.cache.coherence.live()
	if !live || e.epoch != epoch || time.Now().UnixNano() >= e.until {
		return nil
	}
	if !n.stands(&e.found) {
		return nil
	}
	return e
}

// stands reports whether the versions that a value carries are remembered as
// those that stand.
func (n *Namespace[V]) stands(f *found[V]) bool {
	co := n.cache.coherence
	if gen, _ := n.generation.remembered(co); gen != f.gen {
		return false
	}
	for _, tag := range f.tags {
		if value, _ := n.tag(tag.tag).remembered(co); value != tag.version {
			return false
		}
	}
	return true
}

// mayStand reports whether nothing is remembered that voids a value.
func (n *Namespace[V]) mayStand(f *found[V]) bool {
	co := n.cache.coherence
	if gen, _ := n.generation.remembered(co); gen != versionUnknown && gen != f.gen {
		return false
	}
	for _, tag := range f.tags {
		if value, _ := n.tag(tag.tag).remembered(co); value != versionUnknown && value != tag.version {
			return false
		}
	}
	return true
}

// nearFill keeps what was read from Redis.
func (n *Namespace[V]) nearFill(key string, f *found[V], size int, mark, epoch uint64) {
	if f.kind != foundFresh && f.kind != foundNegative {
		return
	}
	until := time.Now().Add(n.settings.nearTTL)
	if !f.stale.IsZero() && f.stale.Before(until) {
		until = f.stale
	}
	n.near.fill(key, &nearEntry[V]{found: *f, epoch: epoch, until: until.UnixNano(), size: clampSize(size)}, mark)
}

func clampSize(n int) uint32 { return uint32(min(int64(n)+overhead, math.MaxUint32)) }

// offline returns the near cache of a namespace, made for an outage if the
// namespace has none.
func (n *Namespace[V]) offline() *near[V] {
	if n.near != nil {
		return n.near
	}
	n.offlineOnce.Do(func() { n.offlineNear.Store(newNear[V](offlineEntries, n.cache.cfg.NearBytes)) })
	return n.offlineNear.Load()
}

// offlineGet returns a result that was loaded a moment ago, while Redis was
// away.
func (n *Namespace[V]) offlineGet(key string) (*nearEntry[V], bool) {
	e, ok := n.offline().entries.GetIfPresent(key)
	if !ok || !e.offline || e.epoch != n.offlineSeq.Load() || time.Now().UnixNano() >= e.until {
		return nil, false
	}
	return e, true
}

// lastKnown returns the value that the near cache had before Redis went away,
// as a stale one.
func (n *Namespace[V]) lastKnown(key string) (found[V], bool) {
	e, ok := n.offline().entries.GetIfPresent(key)
	if !ok || e.kind != foundFresh || !e.offline && !n.mayStand(&e.found) || e.offline && e.epoch != n.offlineSeq.Load() {
		return found[V]{}, false
	}
	f := e.found
	f.kind, f.seal = foundStale, seal{}
	if now := time.Now(); f.stale.IsZero() || now.Before(f.stale) {
		f.stale = now
	}
	return f, true
}

// offlineFill keeps the result of a load that could not be stored.
func (n *Namespace[V]) offlineFill(key string, value V, negative bool, mark, seq uint64) {
	kind := foundFresh
	if negative {
		kind = foundNegative
	}
	now := time.Now()
	f := found[V]{kind: kind, value: value, created: now, stale: now.Add(DefaultOfflineTTL)}
	size := int(n.cache.cfg.NearBytes / offlineEntries) // unknown: it was never encoded
	n.offline().fill(key, &nearEntry[V]{found: f, epoch: seq, until: f.stale.UnixNano(), size: clampSize(size), offline: true}, mark)
}

// keyPrefix and invalidated make a namespace a listener.
func (n *Namespace[V]) keyPrefix() string { return n.prefix }

func (n *Namespace[V]) invalidated(key string) {
	n.near.drop(key)
	n.flights.forget(key)
}

// touch forgets what the process has of a key, and keeps what is being read or
// loaded from coming in. It is called after a write and before that returns.
func (n *Namespace[V]) touch(key string) {
	if n.near != nil {
		n.near.drop(key)
	} else if c := n.offlineNear.Load(); c != nil {
		c.drop(key)
	}
	n.flights.forget(key)
}
