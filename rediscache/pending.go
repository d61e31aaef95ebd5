package rediscache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/backoff"
)

// maxPending bounds the keys that are remembered while Redis is away. When
// there are more, whole namespaces are invalidated instead.
const maxPending = 100_000

// replayBatch is the number of keys made up for in one pipeline.
const replayBatch = 500

var replayPauses = backoff.Policy{Min: 5 * time.Millisecond, Max: 100 * time.Millisecond}

// pending are the writes and deletes that Redis has not, or perhaps not, seen.
// Their keys are invalid: this process reads nothing under them until they are
// deleted in Redis. The values are not kept: who wrote them has told the
// caller that it failed, and another process may know newer ones.
type pending struct {
	count atomic.Int64 // of keys, so that the common case is one load

	mu       sync.Mutex
	keys     map[string]pendingKey
	versions map[*version]struct{}
	running  bool
	seq      uint64
}

// pendingKey says how a key is made up for.
type pendingKey struct {
	seq        uint64        // tells a later failure apart from this one
	grave      time.Duration // of a tombstone; 0: just delete
	generation *version      // what to renew instead when there are too many
	writers    int           // writes of this key under way: no replay now
	abandoned  int           // of these, writes whose callers gave up: no later write settles this
	replaying  chan struct{} // closed when its replay is over; nil outside of one
}

// has reports whether a key must not be read.
func (p *pending) has(key string) bool {
	if p.count.Load() == 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.keys[key]
	return ok
}

// remember notes that Redis may hold an old value under key, if that is what
// the error of a write means.
func (c *Cache) remember(key string, grave time.Duration, generation *version, err error) {
	p := &c.pending
	p.mu.Lock()
	k, known := p.keys[key]
	k.writers = max(k.writers-1, 0)
	if classify(err) == classOK { // the server refused this command: nothing changed
		if known {
			p.keys[key] = k
		}
		p.mu.Unlock()
		return
	}
	if !known && len(p.keys) >= maxPending {
		if generation == nil {
			p.mu.Unlock()
			c.counts.forgotten.Add(1)
			return
		}
		p.addVersionLocked(generation)
		generation.mu.Lock()
		if generation.pending == 0 {
			generation.pending = newVersion()
			generation.seq++
		}
		generation.mu.Unlock()
	} else {
		if p.keys == nil {
			p.keys = map[string]pendingKey{}
		}
		p.seq++
		k.seq, k.grave, k.generation = p.seq, grave, generation
		if late, ok := errors.AsType[*abandonedError](err); ok {
			k.writers++
			k.abandoned++
			go func() {
				<-late.done
				p.landed(key)
			}()
		}
		p.keys[key] = k
		p.count.Store(int64(len(p.keys)))
		c.counts.remembered.Add(1)
	}
	p.mu.Unlock()
	c.startReplay()
}

func (p *pending) addVersion(v *version) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addVersionLocked(v)
}

func (p *pending) addVersionLocked(v *version) {
	if p.versions == nil {
		p.versions = map[*version]struct{}{}
	}
	p.versions[v] = struct{}{}
}

// write announces a write of a key that may be pending, so that no replay
// deletes what is about to be stored. The write's outcome ends it: settle or
// remember.
func (p *pending) write(ctx context.Context, key string) {
	for p.count.Load() > 0 {
		p.mu.Lock()
		k, ok := p.keys[key]
		if !ok || k.replaying == nil {
			if ok {
				k.writers++
				p.keys[key] = k
			}
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		select {
		case <-k.replaying:
		case <-ctx.Done():
			return // the write will fail for the same reason
		}
	}
}

// settle notes that a key was written after all: what was pending is moot.
func (p *pending) settle(key string) {
	if p.count.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if k, ok := p.keys[key]; k.abandoned > 0 {
		k.writers = max(k.writers-1, k.abandoned)
		p.keys[key] = k
	} else if ok && k.replaying == nil {
		delete(p.keys, key)
		p.count.Store(int64(len(p.keys)))
	}
}

// landed notes that an abandoned write of a key can do no more.
func (p *pending) landed(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k, ok := p.keys[key]; ok {
		k.writers--
		k.abandoned--
		p.keys[key] = k
	}
}

// startReplay sees to it that what is pending is made up for.
func (c *Cache) startReplay() {
	p := &c.pending
	p.mu.Lock()
	idle := !p.running
	p.running = true
	p.mu.Unlock()
	if idle && !c.spawn(c.replay) {
		p.mu.Lock()
		p.running = false
		p.mu.Unlock()
	}
}

// replay deletes what is pending as soon as Redis lets it.
func (c *Cache) replay(ctx context.Context) {
	p := &c.pending
	for attempt := 0; ; {
		p.mu.Lock()
		if len(p.keys) == 0 && len(p.versions) == 0 {
			p.running = false
			p.mu.Unlock()
			return
		}
		batch := p.takeLocked()
		var vs []*version
		for v := range p.versions {
			vs = append(vs, v)
		}
		p.mu.Unlock()

		done := c.replayBatch(ctx, batch)
		for _, v := range vs {
			// A version that nobody has used: with the pending one, what this
			// process stored meanwhile would outlive a Clear of another since.
			v.mu.Lock()
			fresh := uint64(0)
			if v.pending != 0 {
				fresh = newVersion()
				v.pending = fresh
				v.seq++
			}
			v.mu.Unlock()
			if fresh == 0 || c.storeVersion(ctx, v, fresh) == nil {
				p.mu.Lock()
				delete(p.versions, v)
				p.mu.Unlock()
				done++
			}
		}
		if done > 0 {
			attempt = 0
			continue
		}
		if replayPauses.Wait(ctx, attempt) != nil {
			return
		}
		attempt++
	}
}

// takeLocked picks the keys of the next batch.
func (p *pending) takeLocked() map[string]pendingKey {
	batch := make(map[string]pendingKey, min(len(p.keys), replayBatch))
	over := make(chan struct{})
	for key, k := range p.keys {
		if len(batch) == replayBatch {
			break
		}
		if k.writers == 0 {
			k.replaying = over
			p.keys[key] = k
			batch[key] = k
		}
	}
	return batch
}

// replayBatch deletes the keys of a batch, and returns how many it did.
func (c *Cache) replayBatch(ctx context.Context, batch map[string]pendingKey) int {
	if len(batch) == 0 {
		return 0
	}
	pipe := c.link.client.Pipeline()
	cmds := make(map[string]redis.Cmder, len(batch))
	now := time.Now()
	for key, k := range batch {
		if k.grave > 0 {
			grave := newEnvelope(now)
			grave.flags = flagTombstone
			cmds[key] = pipe.Set(ctx, key, grave.append(nil), k.grave)
		} else {
			cmds[key] = pipe.Unlink(ctx, key)
		}
		if c.coherence.pubsub.Load() {
			pipe.Publish(ctx, channel, key)
		}
	}
	_, _ = pipe.Exec(ctx)
	done := 0
	var over chan struct{} // the same for the whole batch
	p := &c.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, k := range batch {
		now := p.keys[key]
		now.replaying = nil
		kind := classify(cmds[key].Err())
		switch {
		case kind == classOOM:
			now.grave = 0 // no memory for a tombstone: next time just delete
			p.keys[key] = now
			done++
		case kind != classOK: // an error that is not an outage would not go away by trying again
			p.keys[key] = now
		case now.seq != k.seq: // another write failed meanwhile
			p.keys[key] = now
			done++
		default:
			delete(p.keys, key)
			done++
		}
		over = k.replaying
	}
	if over != nil {
		close(over)
	}
	p.count.Store(int64(len(p.keys)))
	c.counts.replayed.Add(uint64(done))
	return done
}

// publish tells other processes about a write where Redis does not.
func (c *Cache) publish(ctx context.Context, key string) {
	if c.coherence.pubsub.Load() {
		err := c.link.client.Publish(ctx, channel, key).Err()
		if classify(err) == classOK {
			return
		}
		c.spawn(func(ctx context.Context) { // the write stands: others must hear of it
			for attempt := 0; classify(err) != classOK && replayPauses.Wait(ctx, attempt) == nil; attempt++ {
				err = c.link.client.Publish(ctx, channel, key).Err()
			}
		})
	}
}
