package session

import (
	"sync"
	"sync/atomic"
	"time"
)

// live is what this process knows of sessions it has seen: to read without
// decrypting again, to serve from when Redis is away, and where writers of one
// session line up. It is bounded; what waits for Redis is never thrown away.
type live struct {
	shards [liveShards]shard
	limit  int64 // bytes per shard
	// listening: messages of other processes arrive, so caching is safe.
	listening atomic.Bool
}

const (
	liveShards    = 32
	entryOverhead = 600 // bytes of an entry beside its records, roughly
)

type shard struct {
	mu      sync.Mutex
	entries map[string]*entry
	bytes   int64
	// ticks counts messages about sessions of this shard: what was read before
	// one must not be cached after it.
	ticks atomic.Uint64
}

// An entry is one session as this process knows it.
type entry struct {
	id       ident
	view     atomic.Pointer[view]   // nil: nothing is known
	carry    atomic.Pointer[string] // the latest cookie of a gorilla store that wants its own
	used     atomic.Bool            // since the last sweep
	requests atomic.Int64           // loads that no record counts yet
	spared   atomic.Int64           // when a revocation of the user's sessions last excepted this one, in ms
	size     int64                  // as counted in the shard; guarded by its mutex

	mu sync.Mutex // writers, one at a time
	// What has to reach Redis; guarded by mu.
	dirty   bool
	base    *record             // what Redis has, as far as we know; nil: nothing
	baseRaw []byte              // the same, encoded
	attempt *view               // what may have reached Redis: nobody answered
	origin  *origin             // the ID before, that has to give way
	updates map[string][]update // what Update did to keys since base
}

// An update is what an Update of a request did to a key, to be done again on
// what another process has saved meanwhile.
type update struct {
	change *change
	mark   uint32
}

// A view is what is known of a session at one moment. It is not changed.
type view struct {
	rec   *record
	raw   []byte // as stored; nil if it is not stored like this
	gone  bool   // ended
	dirty bool   // newer than what Redis has: it is not asked
	until int64  // ns: a local cache may serve it without asking
	tick  uint64 // of live, before it was saved
}

// An origin is the session that a login without Redis replaced.
type origin struct {
	id     ident
	base   *record
	needed bool // the new one is nothing if the old one ended elsewhere
	left   *record
	before *origin // of this one, which Redis may never have heard of
}

func newLive(bytes int64) *live {
	l := &live{limit: bytes / liveShards}
	for i := range l.shards {
		l.shards[i].entries = map[string]*entry{}
	}
	return l
}

func (l *live) shard(sid string) *shard {
	var h uint32 = 2166136261 // FNV-1a, over the hashed end of the ID
	for i := max(0, len(sid)-8); i < len(sid); i++ {
		h = (h ^ uint32(sid[i])) * 16777619
	}
	return &l.shards[h%liveShards]
}

// get returns what is known of a session, or nil.
func (l *live) get(sid string) *entry {
	s := l.shard(sid)
	s.mu.Lock()
	e := s.entries[sid]
	s.mu.Unlock()
	if e != nil && !e.used.Load() {
		e.used.Store(true)
	}
	return e
}

// entry returns the entry of a session and makes it if needed.
func (l *live) entry(id ident) *entry {
	s := l.shard(id.sid)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id.sid]
	if e == nil {
		e = &entry{id: id, size: entryOverhead}
		s.entries[id.sid] = e
		s.bytes += e.size
	}
	e.used.Store(true)
	return e
}

// grew accounts for a new view and makes room.
func (l *live) grew(e *entry, n int) {
	s := l.shard(e.id.sid)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[e.id.sid] != e {
		return
	}
	size := int64(entryOverhead + 2*n)
	s.bytes += size - e.size
	e.size = size
	if s.bytes > l.limit {
		s.sweepLocked(l.limit*3/4, e)
	}
}

// pin brings back an entry that was swept while its save was under way.
func (l *live) pin(e *entry) {
	s := l.shard(e.id.sid)
	s.mu.Lock()
	defer s.mu.Unlock()
	other := s.entries[e.id.sid]
	if other == e {
		return
	}
	if other != nil {
		s.bytes -= other.size
	}
	s.entries[e.id.sid] = e
	s.bytes += e.size
}

// sweepLocked forgets entries, those not used lately first, until few enough
// bytes are left. Entries that wait for Redis stay.
func (s *shard) sweepLocked(target int64, keep *entry) {
	for range 2 {
		for sid, e := range s.entries { // in no order, which is as good as any
			if s.bytes <= target {
				return
			}
			if e == keep || e.used.Swap(false) {
				continue
			}
			if v := e.view.Load(); v != nil && v.dirty {
				continue
			}
			delete(s.entries, sid)
			s.bytes -= e.size
		}
	}
}

// expire forgets what has ended, and returns how many entries there are.
func (l *live) expire(ended func(*record) bool) (n int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for sid, e := range s.entries {
			v := e.view.Load()
			if v == nil || v.dirty && !v.gone && !ended(v.rec) || v.dirty && v.gone {
				continue
			}
			if v.gone || ended(v.rec) {
				delete(s.entries, sid)
				s.bytes -= e.size
			}
		}
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}

// each calls f for every session that is known and has not ended.
func (l *live) each(f func(e *entry, v *view)) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		known := make([]*entry, 0, len(s.entries))
		for _, e := range s.entries {
			known = append(known, e)
		}
		s.mu.Unlock()
		for _, e := range known {
			if v := e.view.Load(); v != nil && !v.gone {
				f(e, v)
			}
		}
	}
}

// bytes is what all entries take, roughly.
func (l *live) bytes() (n int64) {
	for i := range l.shards {
		l.shards[i].mu.Lock()
		n += l.shards[i].bytes
		l.shards[i].mu.Unlock()
	}
	return n
}

// cached reports whether the view may be served without asking Redis.
func (v *view) cached(now time.Time) bool { return v.until != 0 && now.UnixNano() < v.until }

// tick is the number of messages so far about sessions near this one.
func (l *live) tick(sid string) uint64 { return l.shard(sid).ticks.Load() }

// stale notes a message: what is cached of a session must be read anew, or has
// ended.
func (l *live) stale(sid string, ended bool) {
	s := l.shard(sid)
	s.ticks.Add(1)
	s.mu.Lock()
	e := s.entries[sid]
	s.mu.Unlock()
	if e == nil {
		return
	}
	for {
		v := e.view.Load()
		if v == nil || v.dirty || v.gone {
			return
		}
		next := &view{rec: v.rec, raw: v.raw, gone: ended}
		if e.view.CompareAndSwap(v, next) {
			return
		}
	}
}

// staleAll drops every cached read, because messages may have been lost.
func (l *live) staleAll() {
	for i := range l.shards {
		l.shards[i].ticks.Add(1)
	}
	l.each(func(e *entry, v *view) {
		if v.until != 0 && !v.dirty {
			e.view.CompareAndSwap(v, &view{rec: v.rec, raw: v.raw})
		}
	})
}
