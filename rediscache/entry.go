package rediscache

import (
	"math/rand/v2"
	"slices"
	"time"
)

// The defaults of a namespace's entries.
const (
	DefaultTTL = 10 * time.Minute
	// DefaultJitter shortens each lifetime by a random part of up to 10 %, so
	// that what was stored together does not expire together.
	DefaultJitter = 0.1
	// DefaultLoadTimeout bounds a loader. It is detached from its callers'
	// contexts, so this is its only limit.
	DefaultLoadTimeout = 20 * time.Second
	// DefaultLease is how long an Exclusive load is reserved; it is renewed
	// while the loader runs, so it is the time that a dead holder costs.
	DefaultLease = 2 * time.Second
	// DefaultErrorPause is how long a stale value is served without asking the
	// loader again after it failed.
	DefaultErrorPause = time.Second
)

// A NamespaceOption is a setting of [Of].
type NamespaceOption interface{ applyNamespace(s *settings) }

// A SetOption is a setting of a single Set or SetMany.
type SetOption interface{ applySet(e *entry) }

// A LoadOption is a setting of a single Load or LoadMany.
type LoadOption interface{ applyLoad(e *entry) }

// An EntryOption says how an entry is kept or loaded. It can be given to [Of],
// as the default of the namespace, and to a single Set or Load, which it then
// overrides.
type EntryOption func(e *entry)

func (o EntryOption) applyNamespace(s *settings) { o(&s.entry) }
func (o EntryOption) applySet(e *entry)          { o(e) }
func (o EntryOption) applyLoad(e *entry)         { o(e) }

// entry is how an entry is kept and loaded.
type entry struct {
	ttl          time.Duration
	jitter       float64
	negativeTTL  time.Duration
	staleFor     time.Duration
	staleOnError time.Duration
	softTimeout  time.Duration
	loadTimeout  time.Duration
	early        float64
	lease        time.Duration // 0: not exclusive
	tags         []string
}

func defaultEntry() entry {
	return entry{ttl: DefaultTTL, jitter: DefaultJitter, loadTimeout: DefaultLoadTimeout}
}

// TTL sets how long a value is fresh, shortened by [Jitter]. The default is
// [DefaultTTL]; 0 or less means that it does not expire.
func TTL(d time.Duration) EntryOption {
	return func(e *entry) { e.ttl = storable(d) }
}

const year = 365 * 24 * time.Hour

// storable is a lifetime as the envelope can hold it: whole milliseconds, 0 for
// ever, and no more than a century.
func storable(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return min(max(d, time.Millisecond), 100*year)
}

// Jitter sets the part of the TTL, 0 to 1, by which it is shortened at random.
// The default is [DefaultJitter].
func Jitter(part float64) EntryOption {
	return func(e *entry) { e.jitter = min(max(part, 0), 1) }
}

// Tags attaches tags, by which [Namespace.DelTags] invalidates. Repeating it
// appends; tags given to one call are added to the namespace's. A value has at
// most 64.
func Tags(tags ...string) EntryOption {
	return func(e *entry) { e.tags = append(slices.Clip(e.tags), tags...) }
}

// NegativeTTL has Load remember for d that the loader found nothing, so that
// asking for what does not exist costs no load each time. The default, 0, does
// not remember it.
func NegativeTTL(d time.Duration) EntryOption {
	return func(e *entry) { e.negativeTTL = storable(d) }
}

// StaleFor has Load return a value for d beyond its TTL, at once, while it is
// loaded anew in the background. The default is 0.
func StaleFor(d time.Duration) EntryOption {
	return func(e *entry) { e.staleFor = max(d, 0) }
}

// StaleOnError keeps a value for d beyond its TTL and has Load return it if the
// loader fails, or takes longer than [SoftTimeout]. After a failure the loader
// is left alone for [DefaultErrorPause]. The default is 0.
func StaleOnError(d time.Duration) EntryOption {
	return func(e *entry) { e.staleOnError = max(d, 0) }
}

// SoftTimeout has Load return a stale value, if there is one within StaleFor
// or StaleOnError, when the loader takes longer than d. The load goes on in the
// background. The default, 0, waits.
func SoftTimeout(d time.Duration) EntryOption {
	return func(e *entry) { e.softTimeout = max(d, 0) }
}

// LoadTimeout bounds the loader: after d its context ends. The default, also
// for 0 and less, is [DefaultLoadTimeout]. As an option of a single Load it may
// allow more than the namespace does; what takes longer than that is returned and
// not stored, since a Del is only heeded for as long as the namespace's loads take.
func LoadTimeout(d time.Duration) EntryOption {
	return func(e *entry) {
		if e.loadTimeout = d; d <= 0 {
			e.loadTimeout = DefaultLoadTimeout
		}
	}
}

// EarlyRefresh has Load renew a value in the background once the given part of
// its TTL, 0 to 1, is over, while it returns the one that it has: a value in
// use never expires. 0.8 is a good value. The default, 0, waits for the end.
func EarlyRefresh(part float64) EntryOption {
	return func(e *entry) { e.early = min(max(part, 0), 1) }
}

// Exclusive has only one process at a time load a key; the others wait for its
// result. The right to load is a lease in Redis of [DefaultLease], renewed
// while the loader runs: when the holder dies, the next takes over after that
// time, and no lock is left behind. While Redis is away, loads are exclusive
// in each process only.
func Exclusive() EntryOption { return ExclusiveFor(DefaultLease) }

// ExclusiveFor is [Exclusive] with a lease of d, at least 100 ms.
func ExclusiveFor(d time.Duration) EntryOption {
	return func(e *entry) { e.lease = max(d, 100*time.Millisecond) }
}

// jittered returns the TTL of one write.
func (e *entry) jittered() time.Duration {
	if e.ttl == 0 || e.jitter == 0 {
		return e.ttl
	}
	cut := time.Duration(float64(e.ttl) * e.jitter * rand.Float64()) //nolint:gosec // spreads load, guards nothing
	return max(e.ttl-cut, time.Millisecond)
}

// kept is how long Redis keeps a value that is fresh for ttl; 0 for ever.
func (e *entry) kept(ttl time.Duration) time.Duration {
	if ttl == 0 {
		return 0
	}
	return ttl + max(e.staleFor, e.staleOnError)
}

// tombstone is how long a deleted key stops loads that began before: longer
// than any of them may take.
func (e *entry) tombstone() time.Duration { return e.loadTimeout + 10*time.Second }

// settings is what a namespace is made with.
type settings struct {
	entry

	codec         Codec
	compression   Compression
	compressAbove int
	nearEntries   int
	nearTTL       time.Duration
	waitForWarm   bool
}

type namespaceOption func(s *settings)

func (o namespaceOption) applyNamespace(s *settings) { o(s) }

// WithCodec sets how values are encoded. The default, also for nil, is [JSON].
func WithCodec(codec Codec) NamespaceOption {
	return namespaceOption(func(s *settings) {
		if codec != nil {
			s.codec = codec
		}
	})
}

// Compress sets how encoded values of above bytes and more are compressed. The
// default is S2 above [DefaultCompressAbove]; above 0 or less means that.
// Values are read whatever they were compressed with.
func Compress(how Compression, above int) NamespaceOption {
	return namespaceOption(func(s *settings) {
		s.compression, s.compressAbove = how, above
		if above <= 0 {
			s.compressAbove = DefaultCompressAbove
		}
	})
}
