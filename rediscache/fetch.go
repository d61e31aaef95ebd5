package rediscache

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// foundKind says what is under a key.
type foundKind int

const (
	foundNothing  foundKind = iota // nothing, a tombstone, or what is void or cannot be decoded
	foundFresh                     // a value
	foundStale                     // a value beyond its TTL
	foundNegative                  // the knowledge that the loader finds nothing
)

// found is what is under a key.
type found[V any] struct {
	kind    foundKind
	away    bool // Redis could not be asked
	buried  bool // a tombstone
	value   V
	seal    seal      // what a write-back must still find
	created time.Time // of the value
	stale   time.Time // when it goes, or went, stale; zero: never
	gen     uint64    // versions that it carries
	tags    []tagVersion
}

// fetch reads a key from Redis, and keeps what it finds in the near cache.
func (n *Namespace[V]) fetch(ctx context.Context, key string) (found[V], error) {
	if err := checkKey(key); err != nil {
		return found[V]{}, err
	}
	full := n.prefix + key
	epoch, live := n.cache.coherence.live()
	var mark uint64
	if n.near != nil {
		mark = n.near.mark(key)
	}
	if n.cache.pending.has(full) { // after the mark: what becomes pending later is touched
		return found[V]{}, nil
	}
	data, shared, err := n.cache.read(ctx, full)
	if shared && n.settings.codec == Raw { // which keeps it
		data = bytes.Clone(data)
	}
	var f found[V]
	if err == nil {
		err = n.judge(ctx, data, &f)
	}
	if err != nil {
		n.counts.errors.Add(1)
		return found[V]{}, err
	}
	if n.near != nil && live && len(data) > 0 {
		n.nearFill(key, &f, len(data), mark, epoch)
	}
	return f, nil
}

// judge decodes a stored form into f, and voids it if its versions no longer
// stand.
func (n *Namespace[V]) judge(ctx context.Context, data []byte, f *found[V]) error {
	n.decode(data, f)
	if f.kind == foundNothing || n.stands(f) {
		return nil
	}
	values, err := n.cache.coherence.versions.resolve(ctx, n.carried(f), false)
	if err != nil {
		return err
	}
	valid := values[0] == f.gen
	for i, tag := range f.tags {
		valid = valid && values[i+1] == tag.version
	}
	if !valid {
		*f = found[V]{seal: f.seal}
	}
	return nil
}

// judgeMany is judge for several, with one round trip for all versions.
func (n *Namespace[V]) judgeMany(ctx context.Context, stored [][]byte) ([]found[V], error) {
	founds := make([]found[V], len(stored))
	standing := map[*version]uint64{}
	var ask []*version
	var unsure []int
	for i, data := range stored {
		f := &founds[i]
		if n.decode(data, f); f.kind == foundNothing || n.stands(f) {
			continue
		}
		unsure = append(unsure, i)
		for _, v := range n.carried(f) {
			if _, twice := standing[v]; !twice {
				standing[v] = versionUnknown
				ask = append(ask, v)
			}
		}
	}
	if len(unsure) == 0 {
		return founds, nil
	}
	values, err := n.cache.coherence.versions.resolve(ctx, ask, false)
	if err != nil {
		return nil, err
	}
	for i, v := range ask {
		standing[v] = values[i]
	}
	for _, i := range unsure {
		f := &founds[i]
		list := n.carried(f)
		valid := standing[list[0]] == f.gen
		for j, tag := range f.tags {
			valid = valid && standing[list[j+1]] == tag.version
		}
		if !valid {
			*f = found[V]{seal: f.seal}
		}
	}
	return founds, nil
}

// carried are the memories of the versions that a value carries: the generation,
// then its tags.
func (n *Namespace[V]) carried(f *found[V]) []*version {
	list := make([]*version, 1, 1+len(f.tags))
	list[0] = n.generation
	for _, tag := range f.tags {
		list = append(list, n.tag(tag.tag))
	}
	return list
}

// versionsOf are those that a value will carry.
type versionsOf struct {
	gen  uint64
	tags []tagVersion
}

// standing returns the versions for a value that is made from now on, and sees
// to it that Redis keeps them for as long as the value, which is kept for the
// given time.
func (n *Namespace[V]) standing(ctx context.Context, e *entry, kept time.Duration) (versionsOf, error) {
	if len(e.tags) == 0 {
		if gen, _ := n.generation.remembered(n.cache.coherence); gen > versionAbsent {
			return versionsOf{gen: gen}, nil
		}
	}
	if len(e.tags) > maxTags {
		return versionsOf{}, fmt.Errorf("%w: %d tags, more than %d", ErrTooLarge, len(e.tags), maxTags)
	}
	list := make([]*version, 1, 1+len(e.tags))
	list[0] = n.generation
	for _, tag := range e.tags {
		if err := checkTag(tag); err != nil {
			return versionsOf{}, err
		}
		list = append(list, n.tag(tag))
	}
	values, err := n.cache.coherence.versions.resolve(ctx, list, true)
	if err != nil {
		return versionsOf{}, err
	}
	vs := versionsOf{gen: values[0]}
	for i, tag := range e.tags {
		vs.tags = append(vs.tags, tagVersion{tag: tag, version: values[i+1]})
	}
	n.cache.extend(ctx, list[1:], values[1:], kept)
	return vs, nil
}

// encode makes the stored form of a value.
func (n *Namespace[V]) encode(value V, ttl time.Duration, vs versionsOf) ([]byte, error) {
	payload, err := n.settings.codec.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if int64(len(payload)) > n.cache.cfg.MaxReplyBytes { // it would not be decompressed
		return nil, fmt.Errorf("%w: value of %d bytes before compression, more than the %d of REDIS_MAX_REPLY_BYTES", ErrTooLarge, len(payload), n.cache.cfg.MaxReplyBytes)
	}
	env := newEnvelope(time.Now())
	env.codec, env.fresh, env.gen, env.tags = n.settings.codec.ID(), ttl, vs.gen, vs.tags
	env.payload, env.flags = n.settings.compression.compress(payload, n.settings.compressAbove)
	data := env.append(make([]byte, 0, headerLen+32+len(env.payload)))
	if int64(len(data)) > n.cache.cfg.MaxValueBytes {
		return nil, fmt.Errorf("%w: value of %d bytes, more than the %d of REDIS_MAX_VALUE_BYTES", ErrTooLarge, len(data), n.cache.cfg.MaxValueBytes)
	}
	return data, nil
}

// decode reads a stored form into f, which is zero. What it does not understand is
// nothing, and counted. What codec Raw makes of it shares its memory.
func (n *Namespace[V]) decode(data []byte, f *found[V]) {
	if data == nil {
		return
	}
	var env envelope
	f.seal = sealOf(data)
	if err := env.parse(data); err != nil {
		n.counts.undecodable.Add(1)
		return
	}
	f.created, f.gen, f.tags = env.created, env.gen, env.tags
	if until, ok := env.freshUntil(); ok {
		f.stale = until
	}
	stale := !f.stale.IsZero() && time.Since(f.stale) >= 0
	switch {
	case env.flags&flagTombstone != 0:
		f.buried = true
		return
	case env.flags&flagNegative != 0:
		if !stale {
			f.kind = foundNegative
		}
		return
	}
	payload, err := decompress(env.payload, env.flags, n.cache.cfg.MaxReplyBytes)
	if err == nil && env.codec != n.settings.codec.ID() {
		err = errForeign
	}
	if err == nil {
		f.value, err = n.unmarshal(payload)
	}
	if err != nil {
		n.counts.undecodable.Add(1)
		return
	}
	f.kind = foundFresh
	if stale {
		f.kind = foundStale
	}
}

// unmarshal is the codec's, without its allocations for Raw.
func (n *Namespace[V]) unmarshal(payload []byte) (V, error) {
	if n.settings.codec == Raw {
		return asIs[V](payload), nil
	}
	var value V // by itself: what a codec gets a pointer to is allocated
	if err := n.settings.codec.Unmarshal(payload, &value); err != nil {
		var zero V
		return zero, err
	}
	return value, nil
}

// asIs is data as []byte or string, which V is.
func asIs[V any](data []byte) V {
	var value V
	switch dst := any(&value).(type) {
	case *[]byte:
		*dst = data
	case *string:
		*dst = string(data)
	}
	return value
}
