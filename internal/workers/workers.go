// Package workers runs short jobs on goroutines that are used again.
//
// A goroutine begins with a small stack, which is copied each time that it has
// to grow. For a job that calls deeply, such as a command of go-redis, a new
// goroutine each time cost a twelfth of the processor time.
package workers

import "sync/atomic"

// keep is how many goroutines of a pool wait for the next job.
const keep = 4

// A Pool runs jobs of one kind, each at once: it has no queue and no limit. Its
// methods are safe for concurrent use.
type Pool[T any] struct {
	run  func(T)
	done <-chan struct{}
	jobs chan T // unbuffered: who sends has met a goroutine that waits
	idle atomic.Int32
}

// New returns a pool whose goroutines end when done is closed. Until the first
// job there are none.
func New[T any](done <-chan struct{}, run func(T)) *Pool[T] {
	return &Pool[T]{run: run, done: done, jobs: make(chan T)}
}

// Go runs a job in the background, after done too.
func (p *Pool[T]) Go(job T) {
	select {
	case p.jobs <- job:
	default:
		go p.work(job)
	}
}

func (p *Pool[T]) work(job T) {
	for more := true; more; job, more = p.next() {
		p.run(job)
	}
}

// next waits for a job, if few enough do.
func (p *Pool[T]) next() (job T, ok bool) {
	defer p.idle.Add(-1)
	if p.idle.Add(1) > keep {
		return job, false
	}
	select {
	case job = <-p.jobs:
		return job, true
	case <-p.done:
		return job, false
	}
}
