package pgpool

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A patience is the context of one acquire: the caller's context with the
// ConnectTimeout. An acquire that finds a free connection looks at Done once;
// only the second look means that it waits, and only then does somebody watch
// the time and the caller's context for it. That keeps an acquire free of
// allocations, where context.WithTimeout costs five.
type patience struct {
	context.Context // the caller's: values and deadline

	node *node
	// repeatable: see acquireFor.
	repeatable bool
	shown      bool  // the host's tracer was given a context made of it, and may keep that
	got        int64 // when it got its connection; see clock
	looks      atomic.Int32
	done       chan struct{}

	mu  sync.Mutex
	err error

	// Of the waiting room, under its lock.
	since          int64 // it waits; see clock
	earlier, later *patience
}

var patiences = sync.Pool{New: func() any { return &patience{done: make(chan struct{})} }}

func newPatience(ctx context.Context, n *node, repeatable bool) *patience {
	p := patiences.Get().(*patience) // the pool holds nothing else
	p.Context, p.node, p.repeatable, p.shown, p.got = ctx, n, repeatable, false, 0
	p.looks.Store(0)
	return p
}

// Done implements context.Context.
func (p *patience) Done() <-chan struct{} {
	if p.looks.Add(1) == 2 {
		p.node.waiting.enter(p)
		p.node.lookOut()
	}
	return p.done
}

// Err implements context.Context.
func (p *patience) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// cancel is called once at most.
func (p *patience) cancel(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	close(p.done)
}

// end releases the patience, and tells how long it waited and how often it was
// looked at. It is used again unless it fired, or a connection was dialed, which
// goes on in the background and may still look at it: two looks mean that only a
// free connection was waited for.
func (p *patience) end() (waited time.Duration, looks int32) {
	looks = p.looks.Load()
	waits := looks >= 2 // and only then can have fired
	if waits {
		p.node.waiting.leave(p)
		if p.got == 0 {
			p.got = clock()
		}
		waited = time.Duration(p.got - p.since)
	}
	if looks <= 2 && !p.shown && (!waits || p.Err() == nil) {
		p.Context, p.node = nil, nil
		patiences.Put(p)
	}
	return waited, looks
}

// acquiring is the context of an acquire that the host traces: it ends with our
// patience and has the values of the host's tracer, which gets the caller's own
// context to make its own from. The patience will be another caller's.
type acquiring struct {
	*patience

	traced context.Context //nolint:containedctx // for as long as the acquire
}

// Value implements context.Context.
func (a acquiring) Value(key any) any { return a.traced.Value(key) }

// patienceOf returns the patience of an acquire, or nil if it is not ours.
func patienceOf(ctx context.Context) *patience {
	switch ctx := ctx.(type) {
	case *patience:
		return ctx
	case acquiring:
		return ctx.patience
	default:
		return nil
	}
}

// A waitingRoom holds the acquires of a node that wait; see lookOut.
type waitingRoom struct {
	mu    sync.Mutex
	last  *patience // who came last
	count int64
}

func (r *waitingRoom) enter(p *patience) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.since = clock()
	if p.earlier = r.last; r.last != nil {
		r.last.later = p
	}
	r.last = p
	r.count++
}

// leave takes p out, if it has not been sent out.
func (r *waitingRoom) leave(p *patience) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(p)
}

func (r *waitingRoom) remove(p *patience) {
	switch {
	case p.later != nil:
		p.later.earlier = p.earlier
	case r.last == p:
		r.last = p.earlier
	default:
		return // it was sent out
	}
	if p.earlier != nil {
		p.earlier.later = p.later
	}
	p.earlier, p.later = nil, nil
	r.count--
}

// sendOut sends out whose time is over, and reports whether any are left.
func (r *waitingRoom) sendOut() bool {
	now := clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := r.last; p != nil; {
		earlier := p.earlier
		err := p.Context.Err()
		if err == nil && now >= p.since+int64(p.node.pool.cfg.ConnectTimeout) {
			err = context.DeadlineExceeded
		}
		if err != nil {
			r.remove(p)
			p.cancel(err)
		}
		p = earlier
	}
	return r.count > 0
}

// size is how many wait.
func (r *waitingRoom) size() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}
