package rediscache

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// A flight is one load under way, and those who wait for it.
type flight[V any] struct {
	done  chan struct{} // closed when value and err are set
	value V
	err   error
	// dropped is set when the key was written or deleted meanwhile: the result
	// goes to those who wait already, and nowhere else.
	dropped atomic.Bool
}

// flights are the loads of a namespace that are under way, one a key. The zero
// value is ready to use.
type flights[V any] struct {
	shards [16]flightShard[V]
	seed   maphash.Seed
	once   sync.Once
}

type flightShard[V any] struct {
	mu   sync.Mutex
	keys map[string]*flight[V]
	// landed counts loads that ended. A caller that finds nothing in Redis, and
	// no flight, and the count unchanged since before it looked, knows that
	// nobody stored the key in between.
	landed atomic.Uint64
	// pauses are the keys whose loader failed, and until when it is spared.
	pauses map[string]time.Time
}

// maxPauses bounds pauses; beyond, the oldest knowledge is not worth keeping.
const maxPauses = 256

// pause spares the loader of key until the given time.
func (s *flightShard[V]) pause(key string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pauses == nil || len(s.pauses) >= maxPauses {
		s.pauses = map[string]time.Time{}
	}
	s.pauses[key] = until
}

// paused reports whether the loader of key failed just now.
func (s *flightShard[V]) paused(key string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.pauses[key]
	if ok && !now.Before(until) {
		delete(s.pauses, key)
		return false
	}
	return ok
}

func (f *flights[V]) shard(key string) *flightShard[V] {
	f.once.Do(func() { f.seed = maphash.MakeSeed() })
	return &f.shards[maphash.String(f.seed, key)%uint64(len(f.shards))]
}

// join returns the flight of key, and whether the caller has to fly it.
func (s *flightShard[V]) join(key string) (*flight[V], bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.keys[key]; ok {
		return f, false
	}
	f := &flight[V]{done: make(chan struct{})}
	if s.keys == nil {
		s.keys = map[string]*flight[V]{}
	}
	s.keys[key] = f
	return f, true
}

// land hands the result to all who wait.
func (s *flightShard[V]) land(key string, f *flight[V], value V, err error) {
	f.value, f.err = value, err
	s.mu.Lock()
	if s.keys[key] == f {
		delete(s.keys, key)
	}
	s.landed.Add(1)
	s.mu.Unlock()
	close(f.done)
}

// forget drops the flight of key: who comes now must not get what was loaded
// before the key changed.
func (f *flights[V]) forget(key string) {
	s := f.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if one, ok := s.keys[key]; ok {
		one.dropped.Store(true)
		delete(s.keys, key)
	}
}

// forgetAll drops every flight.
func (f *flights[V]) forgetAll() {
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		for _, one := range s.keys {
			one.dropped.Store(true)
		}
		clear(s.keys)
		s.mu.Unlock()
	}
}
