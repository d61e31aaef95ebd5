package rediscache

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Namespace is one kind of value in a cache: its keys have a common prefix,
// its values a type, and all share settings. It is safe for concurrent use and
// made by [Of]; it needs no end.
//
// A value returned by a namespace may come from the near cache and be shared
// with other callers: treat what it points to as read-only.
type Namespace[V any] struct {
	cache    *Cache
	name     string
	prefix   string // name and colon
	settings settings
	counts   *counts
	flights  flights[V]

	generation  *version
	near        *near[V]                // nil without Near
	offlineNear atomic.Pointer[near[V]] // results of loads during an outage, where near is nil
	offlineOnce sync.Once
	offlineSeq  atomic.Uint64 // results of another sequence are void
}

// Of returns a namespace of c for values of type V. Its keys in Redis are
// name:key. Namespaces are made once, at the start of a program. Two with the
// same name are two views of the same keys, each with a near cache of its own,
// and should have the same type and settings.
//
// Of panics if the name is empty or holds a character that is special in Redis
// patterns or hash tags, or if codec [Raw] is to hold another V than []byte or
// string: mistakes in a program, not in its input.
func Of[V any](c *Cache, name string, opts ...NamespaceOption) *Namespace[V] {
	if name == "" || strings.ContainsAny(name, "*?[]{}\\ \r\n") || len(name) > 256 {
		panic(fmt.Sprintf("rediscache: Of: %q cannot be the name of a namespace", name))
	}
	n := &Namespace[V]{
		cache: c, name: name, prefix: name + ":",
		settings: settings{entry: defaultEntry(), codec: JSON, compressAbove: DefaultCompressAbove, nearTTL: DefaultNearTTL},
		counts:   new(counts),
	}
	n.generation = c.coherence.versions.of(generationKey(name))
	for _, opt := range opts {
		if opt != nil {
			opt.applyNamespace(&n.settings)
		}
	}
	if kind := reflect.TypeFor[V](); n.settings.codec == Raw && kind != reflect.TypeFor[[]byte]() && kind != reflect.TypeFor[string]() {
		panic(fmt.Sprintf("rediscache: Of: codec Raw of namespace %q is for []byte and string, not %v", name, kind))
	}
	if n.settings.nearEntries > 0 {
		n.near = newNear[V](n.settings.nearEntries, c.cfg.NearBytes)
		c.coherence.listen(n)
	}
	one := namedCounts{name: name, counts: n.counts}
	if near := n.near; near != nil {
		one.near = func() (int, uint64) { return near.entries.EstimatedSize(), near.entries.WeightedSize() }
	}
	c.register(one, n.settings.waitForWarm)
	return n
}

// String names the namespace: what prints it would else show all that it holds.
func (n *Namespace[V]) String() string { return "rediscache.Namespace{Name:" + n.name + "}" }

// GoString is String.
func (n *Namespace[V]) GoString() string { return n.String() }

// Get returns the value under key, or [ErrNotFound] if there is none or it is
// stale. Other errors: [ErrUnavailable].
func (n *Namespace[V]) Get(ctx context.Context, key string) (V, error) {
	if e := n.nearGet(key); e != nil {
		n.counts.nearHits.Add(1)
		if e.kind == foundNegative {
			return e.value, ErrNotFound
		}
		return e.value, nil
	}
	f, err := n.fetch(ctx, key)
	if err != nil {
		return f.value, opError("get "+n.name, err)
	}
	if f.kind != foundFresh {
		n.counts.misses.Add(1)
		var zero V
		return zero, ErrNotFound
	}
	n.counts.hits.Add(1)
	return f.value, nil
}

// Set stores a value under key. The next Get, in this process, returns it or a
// newer one. Errors: [ErrUnavailable] (the key is then remembered as invalid,
// so that no older value is served when Redis is back), [ErrTooLarge], and
// what the codec says.
func (n *Namespace[V]) Set(ctx context.Context, key string, value V, opts ...SetOption) error {
	e := n.settings.entry
	for _, opt := range opts {
		if opt != nil {
			opt.applySet(&e)
		}
	}
	return opError("set "+n.name, n.set(ctx, key, value, &e))
}

func (n *Namespace[V]) set(ctx context.Context, key string, value V, e *entry) error {
	if err := checkKey(key); err != nil {
		return err
	}
	n.counts.sets.Add(1)
	full := n.prefix + key
	ttl := e.jittered()
	vs, err := n.standing(ctx, e, e.kept(ttl))
	var data []byte
	if err == nil {
		if data, err = n.encode(value, ttl, vs); err != nil {
			return err // nothing happened
		}
	}
	n.cache.pending.write(ctx, full)
	if err == nil {
		err = n.cache.write(ctx, full, data, e.kept(ttl))
	}
	n.wrote(ctx, key, err)
	return err
}

// wrote follows up on a write of a key, successful or not.
func (n *Namespace[V]) wrote(ctx context.Context, key string, err error) {
	full := n.prefix + key
	if err == nil {
		n.cache.pending.settle(full)
		n.cache.publish(ctx, full)
	} else {
		n.counts.errors.Add(1)
		n.cache.remember(full, n.settings.tombstone(), n.generation, err)
	}
	n.touch(key)
	n.cache.coherence.touched(full) // other views of the namespace in this process
}

// Del deletes keys. Loads of them that are under way, in any process, no
// longer store what they loaded: a tombstone takes the place of the value for
// as long as a load may take. That makes it safe to call after a transaction
// has committed, whatever others read before.
//
// Errors: [ErrUnavailable]; the keys are then remembered and deleted when
// Redis is back.
func (n *Namespace[V]) Del(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return opError("del "+n.name, err)
		}
	}
	n.counts.dels.Add(uint64(len(keys)))
	var errs []error
	for page := range slices.Chunk(keys, replayBatch) {
		errs = append(errs, n.bury(ctx, page))
	}
	return opError("del "+n.name, firstOf(errs))
}

// bury puts tombstones in the place of values.
func (n *Namespace[V]) bury(ctx context.Context, keys []string) error {
	writes := make([]keyWrite, len(keys))
	for i, key := range keys {
		grave := newEnvelope(time.Now())
		grave.flags = flagTombstone
		writes[i] = keyWrite{key: n.prefix + key, data: grave.append(nil), ttl: n.settings.tombstone()}
	}
	errs := n.cache.writeMany(ctx, writes)
	for i, key := range keys {
		n.wrote(ctx, key, errs[i])
	}
	return firstOf(errs)
}

// Clear voids every value of the namespace with one command, however many there
// are, in all processes; Redis lets go of their memory as they expire. Errors:
// [ErrUnavailable]; for this process the namespace is then empty all the same,
// and for the others when Redis is back.
func (n *Namespace[V]) Clear(ctx context.Context) error {
	n.forgetLoads()
	err := n.cache.bump(ctx, []*version{n.generation})
	n.forgetLoads()
	return opError("clear "+n.name, err)
}

// DelTags voids every value of the namespace that carries one of the tags, with
// one command a tag, like [Namespace.Clear].
func (n *Namespace[V]) DelTags(ctx context.Context, tags ...string) error {
	list := make([]*version, len(tags))
	for i, tag := range tags {
		if err := checkTag(tag); err != nil {
			return opError("del tags "+n.name, err)
		}
		list[i] = n.tag(tag)
	}
	n.forgetLoads()
	err := n.cache.bump(ctx, list)
	n.forgetLoads()
	return opError("del tags "+n.name, err)
}

// forgetLoads keeps what is being loaded from those who come from now on.
func (n *Namespace[V]) forgetLoads() {
	n.offlineSeq.Add(1)
	n.flights.forgetAll()
}

func checkTag(tag string) error {
	if len(tag) > maxKeyLen {
		return fmt.Errorf("%w: tag of %d bytes, more than %d", ErrTooLarge, len(tag), maxKeyLen)
	}
	return nil
}

func (n *Namespace[V]) tag(tag string) *version {
	return n.cache.coherence.versions.of(tagKey(n.name, tag))
}
