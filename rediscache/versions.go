package rediscache

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Versions are how a namespace, or a tag in it, is invalidated with one command
// however many keys there are: every value carries the versions that stood when
// it was made, and is void when they no longer stand.
//
// A version is a random number under a key of its own, never a counter: when
// Redis evicts or loses the key, a counter would start again and bring old
// values back to life; a random number does not come again.
const (
	versionUnknown = 0 // not remembered: ask Redis
	versionAbsent  = 1 // Redis has none: nothing that carries one is valid
)

// tagKept is how long Redis keeps a tag's version beyond the last write that
// used it, at least.
const tagKept = 24 * time.Hour

// A version is what the process remembers of one version key.
type version struct {
	key string

	mu      sync.Mutex
	value   uint64
	epoch   uint64    // in which value was learnt
	seq     uint64    // counts invalidations: an answer asked for before one is void
	lasts   time.Time // until when, as far as this process saw to it, Redis keeps the key…
	lastsOf uint64    // …with this value: another process' renewal shortens its life
	pending uint64    // set while Redis was away: holds until it is stored
}

// versions are those that the process remembers. Without a live stream nothing
// is remembered, and every read asks.
type versions struct {
	co *coherence

	mu  sync.Mutex
	all map[string]*version
}

// maxVersions bounds the tags that are remembered.
const maxVersions = 100_000

func newVersions(co *coherence) *versions {
	return &versions{co: co, all: map[string]*version{}}
}

func generationKey(namespace string) string { return versionPrefix + "g:" + namespace }

// A namespace has no space in its name, so the two parts cannot be confused.
func tagKey(namespace, tag string) string { return versionPrefix + "t:" + namespace + " " + tag }

// of returns the memory of one key.
func (vs *versions) of(key string) *version {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v := vs.all[key]
	if v == nil {
		if len(vs.all) >= maxVersions {
			for k, old := range vs.all {
				if old.idle() {
					delete(vs.all, k)
				}
			}
		}
		v = &version{key: key}
		vs.all[key] = v
	}
	return v
}

// idle reports whether nothing is lost by forgetting that v exists. Namespaces
// hold their generation's memory themselves and must keep the same one.
func (v *version) idle() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pending == 0 && v.key[len(versionPrefix)] == 't'
}

func (vs *versions) forget(key string) {
	vs.mu.Lock()
	v := vs.all[key]
	vs.mu.Unlock()
	if v != nil {
		v.forget()
	}
}

func (vs *versions) forgetAll() {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for _, v := range vs.all {
		v.forget()
	}
}

func (v *version) forget() {
	v.mu.Lock()
	v.value = versionUnknown
	v.seq++
	v.mu.Unlock()
}

// remembered returns the version if it is known, and the mark to hand to learn
// if it is not.
func (v *version) remembered(co *coherence) (value, seq uint64) {
	epoch, live := co.live()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pending != 0 {
		return v.pending, v.seq
	}
	if !live || v.epoch != epoch {
		return versionUnknown, v.seq
	}
	return v.value, v.seq
}

// learn remembers what Redis answered, unless something was invalidated since
// the question.
func (v *version) learn(value, seq, epoch uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seq == seq {
		v.value, v.epoch = value, epoch
	}
}

// resolve returns the versions that stand. With create, those that Redis does
// not have are made.
func (vs *versions) resolve(ctx context.Context, list []*version, create bool) ([]uint64, error) {
	values := make([]uint64, len(list))
	seqs := make([]uint64, len(list))
	epoch, live := vs.co.live()
	var missing []int
	for i, v := range list {
		values[i], seqs[i] = v.remembered(vs.co)
		if values[i] == versionUnknown || create && values[i] == versionAbsent {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return values, nil
	}
	pipe := vs.co.link.client.Pipeline()
	gets := make([]*redis.StringCmd, len(missing))
	for j, i := range missing {
		if create {
			var ttl time.Duration
			if list[i].key[len(versionPrefix)] == 't' {
				ttl = tagKept
			}
			pipe.SetNX(ctx, list[i].key, strconv.FormatUint(newVersion(), 36), ttl)
		}
		gets[j] = pipe.Get(ctx, list[i].key)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	for j, i := range missing {
		text, err := gets[j].Result()
		switch {
		case errors.Is(err, redis.Nil):
			values[i] = versionAbsent
		case err != nil:
			return nil, err
		default:
			n, err := strconv.ParseUint(text, 36, 64)
			if err != nil || n <= versionAbsent {
				n = versionAbsent // not ours: nothing is valid
			}
			values[i] = n
		}
		if live {
			list[i].learn(values[i], seqs[i], epoch)
		}
	}
	return values, nil
}

// newVersion returns a version that was never used.
func newVersion() uint64 {
	return rand.Uint64()>>8 + versionAbsent + 1 //nolint:gosec // need not be a secret
}

// bump gives the keys new versions: everything that carries the old ones is
// void. While Redis is away this process goes by the new ones already.
func (c *Cache) bump(ctx context.Context, list []*version) error {
	var errs []error
	for _, v := range list {
		fresh := newVersion()
		v.mu.Lock()
		v.pending = fresh // whatever is learnt meanwhile
		v.mu.Unlock()
		err := c.storeVersion(ctx, v, fresh)
		if err != nil {
			c.pending.addVersion(v)
			c.startReplay()
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// storeVersion puts a renewed version into Redis, and lets go of it.
func (c *Cache) storeVersion(ctx context.Context, v *version, fresh uint64) error {
	var ttl time.Duration
	if v.key[len(versionPrefix)] == 't' {
		ttl = tagKept
	}
	if err := c.write(ctx, v.key, []byte(strconv.FormatUint(fresh, 36)), ttl); err != nil {
		return err
	}
	c.publish(ctx, v.key)
	v.mu.Lock()
	if v.pending == fresh {
		v.pending = 0
	}
	v.value = versionUnknown
	v.seq++
	v.lasts = time.Time{} // a value may have carried the version before its key had it
	v.mu.Unlock()
	return nil
}

// forever is beyond the expiry of anything.
var forever = time.Unix(1<<40, 0)

// extend makes sure that Redis keeps the versions of tags for as long as a
// value that carries them, which is kept for the given time (0: for ever);
// without, the value would be void before its time.
func (c *Cache) extend(ctx context.Context, list []*version, values []uint64, kept time.Duration) {
	now := time.Now()
	until, ttl := now.Add(kept), max(tagKept, 2*kept)
	if kept == 0 {
		until = forever
	}
	for i, v := range list {
		v.mu.Lock()
		due := v.lastsOf != values[i] || v.lasts.Before(until)
		if due {
			v.lasts, v.lastsOf = now.Add(ttl), values[i]
			if kept == 0 {
				v.lasts = forever
			}
		}
		v.mu.Unlock()
		switch {
		case !due:
		case kept == 0:
			_ = c.link.client.Persist(ctx, v.key).Err()
		default:
			// GT: never shorten what another value needs.
			_ = c.link.client.Do(ctx, "PEXPIRE", v.key, ttl.Milliseconds(), "GT").Err()
		}
	}
}
