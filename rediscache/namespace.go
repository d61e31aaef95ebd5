package rediscache

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
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
}

// Of returns a namespace of c for values of type V. Its keys in Redis are
// name:key. Namespaces are made once, at the start of a program. Two with the
// same name are two views of the same keys, each with a near cache of its own,
// and should have the same type and settings.
//
// Of panics if the name is empty or holds a character that is special in Redis
// patterns or hash tags, or if the codec cannot hold V: mistakes in a program,
// not in its input.
func Of[V any](c *Cache, name string, opts ...NamespaceOption) *Namespace[V] {
	if name == "" || strings.ContainsAny(name, "*?[]{}\\ \r\n") || len(name) > 256 {
		panic(fmt.Sprintf("rediscache: Of: %q cannot be the name of a namespace", name))
	}
	n := &Namespace[V]{
		cache: c, name: name, prefix: name + ":",
		settings: settings{entry: defaultEntry(), codec: JSON, compressAbove: DefaultCompressAbove},
		counts:   new(counts),
	}
	for _, opt := range opts {
		opt.applyNamespace(&n.settings)
	}
	if kind := reflect.TypeFor[V](); n.settings.codec == Raw && kind != reflect.TypeFor[[]byte]() && kind != reflect.TypeFor[string]() {
		panic(fmt.Sprintf("rediscache: Of: codec Raw of namespace %q is for []byte and string, not %v", name, kind))
	}
	return n
}

// Get returns the value under key, or [ErrNotFound] if there is none or it is
// stale. Other errors: [ErrUnavailable].
func (n *Namespace[V]) Get(ctx context.Context, key string) (V, error) {
	found, err := n.fetch(ctx, key)
	if err != nil {
		return found.value, opError("get "+n.name, err)
	}
	if found.kind != foundFresh {
		n.counts.misses.Add(1)
		var zero V
		return zero, ErrNotFound
	}
	n.counts.hits.Add(1)
	return found.value, nil
}

// Set stores a value under key. The next Get, in this process, returns it or a
// newer one. Errors: [ErrUnavailable] (the key is then remembered as invalid,
// so that no older value is served when Redis is back), [ErrTooLarge], and
// what the codec says.
func (n *Namespace[V]) Set(ctx context.Context, key string, value V, opts ...SetOption) error {
	if err := checkKey(key); err != nil {
		return opError("set "+n.name, err)
	}
	e := n.settings.entry
	for _, opt := range opts {
		opt.applySet(&e)
	}
	ttl := e.jittered()
	data, err := n.encode(value, ttl, &e)
	if err != nil {
		return opError("set "+n.name, err)
	}
	n.counts.sets.Add(1)
	n.flights.forget(key)
	err = n.cache.write(ctx, n.prefix+key, data, e.kept(ttl))
	n.flights.forget(key)
	return opError("set "+n.name, err)
}

// Del deletes keys. Loads of them that are under way, in any process, no
// longer store what they loaded: a tombstone takes the place of the value for
// as long as a load may take. Errors: [ErrUnavailable]; the keys are then
// remembered and deleted when Redis is back.
func (n *Namespace[V]) Del(ctx context.Context, keys ...string) error {
	var errs []error
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			errs = append(errs, err)
			continue
		}
		n.counts.dels.Add(1)
		n.flights.forget(key)
		grave := newEnvelope(time.Now())
		grave.flags = flagTombstone
		if err := n.cache.write(ctx, n.prefix+key, grave.append(nil), n.settings.tombstone()); err != nil {
			errs = append(errs, err)
		}
		n.flights.forget(key)
	}
	return opError("del "+n.name, errors.Join(errs...))
}

// foundKind says what is under a key.
type foundKind int

const (
	foundNothing  foundKind = iota // nothing, a tombstone, or what cannot be decoded
	foundFresh                     // a value
	foundStale                     // a value beyond its TTL
	foundNegative                  // the knowledge that the loader finds nothing
)

// found is what is under a key.
type found[V any] struct {
	kind    foundKind
	value   V
	seal    string    // what a write-back must still find; empty: nothing
	created time.Time // of the value
	stale   time.Time // when it goes, or went, stale; zero: never
	away    bool      // Redis could not be asked
}

// fetch reads a key from Redis.
func (n *Namespace[V]) fetch(ctx context.Context, key string) (found[V], error) {
	if err := checkKey(key); err != nil {
		return found[V]{}, err
	}
	data, err := n.cache.read(ctx, n.prefix+key)
	if err != nil {
		n.counts.errors.Add(1)
		return found[V]{}, err
	}
	return n.decode(data), nil
}

// encode makes the stored form of a value.
func (n *Namespace[V]) encode(value V, ttl time.Duration, e *entry) ([]byte, error) {
	payload, err := n.settings.codec.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	env := newEnvelope(time.Now())
	env.codec, env.fresh = n.settings.codec.ID(), ttl
	env.payload, env.flags = n.settings.compression.compress(payload, n.settings.compressAbove)
	if len(e.tags) > maxTags {
		return nil, fmt.Errorf("%w: %d tags, more than %d", ErrTooLarge, len(e.tags), maxTags)
	}
	data := env.append(make([]byte, 0, headerLen+32+len(env.payload)))
	if int64(len(data)) > n.cache.cfg.MaxValueBytes {
		return nil, fmt.Errorf("%w: value of %d bytes, more than the %d of REDIS_MAX_VALUE_BYTES", ErrTooLarge, len(data), n.cache.cfg.MaxValueBytes)
	}
	return data, nil
}

// decode reads a stored form. What it does not understand is nothing, and
// counted.
func (n *Namespace[V]) decode(data []byte) found[V] {
	if data == nil {
		return found[V]{}
	}
	var env envelope
	f := found[V]{seal: seal(data)}
	if err := env.parse(data); err != nil {
		n.counts.undecodable.Add(1)
		return f
	}
	f.created = env.created
	if until, ok := env.freshUntil(); ok {
		f.stale = until
	}
	switch {
	case env.flags&flagTombstone != 0:
		return f
	case env.flags&flagNegative != 0:
		if time.Now().Before(f.stale) {
			f.kind = foundNegative
		}
		return f
	}
	payload, err := decompress(env.payload, env.flags, n.cache.cfg.MaxReplyBytes)
	if err == nil && env.codec != n.settings.codec.ID() {
		err = errForeign
	}
	if err == nil {
		err = n.settings.codec.Unmarshal(payload, &f.value)
	}
	if err != nil {
		n.counts.undecodable.Add(1)
		var zero V
		f.value = zero
		return f
	}
	f.kind = foundFresh
	if !f.stale.IsZero() && !time.Now().Before(f.stale) {
		f.kind = foundStale
	}
	return f
}
