// Package histogram records latencies in fixed memory and tells their
// quantiles.
package histogram

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets are log-linear: each power of two of microseconds is cut into 8, so a
// quantile is at most 12.5 % too high. Bucket 0 holds what is below a
// microsecond; the last holds a little over an hour and all beyond.
const (
	subBits = 3
	sub     = 1 << subBits
	powers  = 32
	buckets = powers * sub
)

// A Histogram counts durations. The zero value is empty and ready to use. All
// methods are safe for concurrent use; Observe is wait-free and does not
// allocate.
type Histogram struct {
	counts [buckets]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

// Observe counts d. A negative d counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(d)].Add(1)
	if d > 0 { // all processors contend for it
		h.sum.Add(int64(d))
	}
}

// Snapshot copies the counts. Observations made meanwhile may be missing, in
// part or as a whole.
func (h *Histogram) Snapshot() Snapshot {
	var s Snapshot
	for i := range h.counts {
		s.counts[i] = h.counts[i].Load()
		s.Count += s.counts[i]
	}
	s.sum = time.Duration(h.sum.Load())
	return s
}

// A Snapshot is the state of a Histogram at one time. Two of the same
// Histogram can be subtracted, which gives what was observed in between.
type Snapshot struct {
	Count  uint64
	counts [buckets]uint64
	sum    time.Duration
}

// Sub returns what was observed after the earlier snapshot was taken.
func (s Snapshot) Sub(earlier Snapshot) Snapshot {
	for i := range s.counts {
		s.counts[i] -= earlier.counts[i]
	}
	s.Count -= earlier.Count
	s.sum -= earlier.sum
	return s
}

// Mean returns the average, or 0 if nothing was observed.
func (s Snapshot) Mean() time.Duration {
	if s.Count == 0 {
		return 0
	}
	return s.sum / time.Duration(s.Count)
}

// Quantile returns the duration that the share q (0 to 1) of the observations
// did not exceed, rounded up to its bucket's bound. It is 0 if nothing was
// observed.
func (s Snapshot) Quantile(q float64) time.Duration {
	if s.Count == 0 {
		return 0
	}
	rank := uint64(q*float64(s.Count-1)) + 1
	var seen uint64
	for i, n := range &s.counts {
		if seen += n; seen >= rank {
			return bound(i)
		}
	}
	return bound(buckets - 1)
}

// bucket returns the index for d: the position of the highest bit of its
// microseconds, refined by the subBits bits that follow.
func bucket(d time.Duration) int {
	us := uint64(d / time.Microsecond)
	if us < sub {
		return int(us)
	}
	high := bits.Len64(us) - 1
	i := (high-subBits+1)*sub + int(us>>(high-subBits))&(sub-1)
	return min(i, buckets-1)
}

// bound returns the upper bound of bucket i, the inverse of bucket.
func bound(i int) time.Duration {
	i++ // the lower bound of the next
	if i < sub {
		return time.Duration(i) * time.Microsecond
	}
	shift := i/sub - 1
	return time.Duration(sub+i%sub) << shift * time.Microsecond
}
