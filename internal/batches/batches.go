// Package batches decides when calls that share round trips leave.
package batches

import (
	"sync/atomic"
	"time"
)

const (
	// Max is the most calls of a batch.
	Max = 512

	// minUnderWay and maxUnderWay bound how many batches there are at a time. Two
	// are enough to keep a near server busy while replies are handed out.
	minUnderWay = 2
	maxUnderWay = 8

	// cost is how much of a round trip justifies one more batch on its way. A batch
	// costs about a tenth of it in processor time.
	cost = 150 * time.Microsecond
)

// A Pace tells when a queue of calls is to leave as a batch: when nothing is under
// way, or when it is a fair share of all calls under way. There is no timer: with
// the network as the limit a batch leaves the moment that the callers of an
// earlier one come back, with the processor as the limit batches grow by
// themselves.
//
// The farther away the server is, the smaller is the share. Who just misses a
// batch waits for the next one to come back, which with two of them may be a
// whole round trip; and where round trips are long, processor time is left for
// more of them.
//
// The zero value is ready to use, and safe for concurrent use.
type Pace struct {
	roundTrip atomic.Int64 // about the shortest of late: load makes others longer
}

// Due reports whether queued calls are to leave, of calls that wait in the queue
// or are under way, in so many batches.
func (p *Pace) Due(queued int, calls int64, underWay int) bool {
	return queued > 0 && (underWay == 0 || queued >= Max || int64(queued)*p.share() >= calls)
}

// Took notes how long a batch was under way.
func (p *Pace) Took(d time.Duration) {
	const forget = 256 // batches, in which a shorter one has no effect any more
	old := p.roundTrip.Load()
	if took := int64(d); old == 0 || took < old {
		p.roundTrip.Store(took)
	} else {
		p.roundTrip.Store(old + (took-old)/forget)
	}
}

// share is how many batches are to be under way.
func (p *Pace) share() int64 {
	return min(max(p.roundTrip.Load()/int64(cost), minUnderWay), maxUnderWay)
}
