package session

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A batch is on its way. Whoever sets over, the goroutine with the replies or
// the timer, has the calls and releases the callers; the other must not look at
// them, since they are used again.
type batch struct {
	link  *link
	calls []*call
	cmds  []redis.Cmder
	one   [1]redis.Cmder
	over  atomic.Bool
}

func (b *batch) run() {
	// Only expire ends the wait: a deadline on the socket would fire before a
	// reply is read that lies there. This one is for whoever hangs after it.
	ctx, cancel := context.WithTimeoutCause(b.link.ctx, hangs*b.link.timeout, errTimeout)
	defer cancel()
	timer := time.AfterFunc(b.link.timeout, b.expire)
	start := time.Now()
	var err error
	if len(b.cmds) == 1 {
		_ = b.link.client.Process(ctx, b.cmds[0]) // the error is in the command
		err = b.cmds[0].Err()
	} else {
		pipe := b.link.client.Pipeline()
		for _, cmd := range b.cmds {
			_ = pipe.Process(ctx, cmd)
		}
		_, err = pipe.Exec(ctx)
	}
	if !b.over.CompareAndSwap(false, true) {
		return
	}
	timer.Stop()
	if !away(err) { // a refused connection tells nothing of the distance
		b.link.pace.Took(time.Since(start))
	}
	if err == nil || len(b.cmds) == 1 && errors.Is(err, redis.Nil) {
		b.release(nil)
		return
	}
	for i, c := range b.calls {
		if err := b.cmds[i].Err(); away(err) {
			c.err = err
			b.link.fail(err)
		}
	}
	b.release(nil)
}

// expire ends the wait for a batch.
func (b *batch) expire() {
	catchUp(b.link.timeout)
	if b.over.CompareAndSwap(false, true) {
		b.link.fail(errTimeout)
		b.release(errTimeout)
	}
}

// catchUp returns when this process keeps up, for its own lateness is not
// Redis'. One that was stopped for a moment, or has far more to compute than
// processors, has timers fire before it reads replies that came in time. The
// runtime looks for those every 10 ms at the latest, and Gosched goes behind those
// who wait for a processor, or some of them: hence several times. If that takes
// long, there is more time, and at most hangs-1 timeouts.
func catchUp(timeout time.Duration) {
	for range hangs - 1 {
		start := time.Now()
		time.Sleep(pollEvery)
		for range 8 {
			runtime.Gosched()
		}
		if time.Since(start)-pollEvery < timeout/8 {
			return
		}
		time.Sleep(timeout)
	}
}

// release ends the batch. A call without an error of its own gets err.
func (b *batch) release(err error) {
	l := b.link
	l.calls.Add(int64(-len(b.calls)))
	l.mu.Lock()
	l.batches--
	l.dispatchLocked() // those who wait go first: these here have their replies
	l.mu.Unlock()
	for _, c := range b.calls {
		if err != nil {
			c.err = err
		}
		c.done <- struct{}{}
	}
}
