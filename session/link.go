package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/backoff"
	"github.com/pedro-go/pedro/internal/batches"
	"github.com/pedro-go/pedro/internal/workers"
)

// A link is the way to Redis over a client that may be anything: without time
// limits, or with retries that take seconds. So nobody calls the client on his
// own goroutine. Commands queue, a few goroutines send them in batches, and
// whoever waits for one is released after the timeout whatever the client does.
//
// Sharing batches is also what makes reads cheap: see [batches.Pace].
//
//	       a refusal, a broken connection, or a batch that timed out
//	up ──────────────────────────────────────────────────────────▶ down: calls are refused at once
//	▲                                                                │
//	└──────────── a probe, in the background, could write ◀──────────┘
type link struct {
	client   redis.UniversalClient
	timeout  time.Duration
	probeKey string
	onChange func(down *outage) // nil: up again

	down  atomic.Pointer[outage]
	back  atomic.Int64 // when the last outage ended; 0: there was none
	calls atomic.Int64 // queued or under way

	senders *workers.Pool[*batch]

	mu      sync.Mutex
	queue   []*call
	batches int
	pace    batches.Pace
	closed  bool

	ctx    context.Context //nolint:containedctx // the life of the prober
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // the prober
}

// An outage is why, and since when, Redis is not asked.
type outage struct {
	since time.Time
	err   error
	over  chan struct{} // closed when Redis is back
}

// A call is a command that somebody waits for.
type call struct {
	cmd  redis.Cmder
	err  error         // why there is no reply; the command is then not to be looked at
	done chan struct{} // gets one value
}

const (
	// probeEvery starts another probe while earlier ones hang, up to maxProbes:
	// on a client without time limits each may hang for seconds.
	probeEvery = 200 * time.Millisecond
	maxProbes  = 4
	// hangs is the number of timeouts after which a client that looks at its
	// context is to give up, and this process is late no longer.
	hangs     = 8
	pollEvery = 10 * time.Millisecond
)

var (
	probePauses = backoff.Policy{Min: 20 * time.Millisecond, Max: 100 * time.Millisecond}
	callPool    = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}
	errTimeout  = errors.New("no answer in time")
)

func newLink(client redis.UniversalClient, timeout time.Duration, probeKey string) *link {
	l := &link{client: client, timeout: timeout, probeKey: probeKey, onChange: func(*outage) {}}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.senders = workers.New(l.ctx.Done(), (*batch).run)
	return l
}

// up reports whether Redis may be asked.
func (l *link) up() bool { return l.down.Load() == nil }

// reunion is how long after an outage other processes may still be bringing
// over what they wrote meanwhile: each notices the end by itself.
const reunion = 2 * time.Second

// reuniting reports whether an outage has just ended.
func (l *link) reuniting() bool {
	back := l.back.Load()
	return back != 0 && time.Since(time.Unix(0, back)) < reunion
}

// settle waits for the end of an outage that has just begun, as long as a call
// may take: most are one slow moment. It reports whether Redis may be asked.
func (l *link) settle(ctx context.Context) bool {
	o := l.down.Load()
	if o == nil {
		return true
	}
	left := l.timeout - time.Since(o.since)
	if left <= 0 {
		return false
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-o.over:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// do sends a command and waits for its reply. The error is the one of the way
// there or of ctx; what Redis itself says is in cmd, which may be looked at
// only if the error is nil.
func (l *link) do(ctx context.Context, cmd redis.Cmder) error {
	if o := l.down.Load(); o != nil {
		return o.err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c := callPool.Get().(*call) // only calls are in the pool
	c.cmd, c.err = cmd, nil
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.calls.Add(1)
	l.queue = append(l.queue, c)
	l.dispatchLocked()
	l.mu.Unlock()

	select {
	case <-c.done:
	case <-ctx.Done():
		return context.Cause(ctx) // c goes with its batch
	}
	err := c.err
	c.cmd = nil
	callPool.Put(c)
	return err
}

// dispatchLocked sends off a batch if it is time to.
func (l *link) dispatchLocked() {
	for l.pace.Due(len(l.queue), l.calls.Load(), l.batches) {
		n := min(len(l.queue), batches.Max)
		b := &batch{link: l, calls: l.queue[:n:n]}
		b.cmds = b.one[:]
		if n > 1 {
			b.cmds = make([]redis.Cmder, n)
		}
		for i, c := range b.calls {
			b.cmds[i] = c.cmd
		}
		l.queue = l.queue[n:]
		if len(l.queue) == 0 {
			l.queue = nil
		}
		l.batches++
		l.senders.Go(b)
	}
}

// fail closes the way: those in the queue are released, and the prober begins.
func (l *link) fail(cause error) {
	o := &outage{since: time.Now(), err: unavailable(cause), over: make(chan struct{})}
	l.mu.Lock()
	if l.closed || !l.down.CompareAndSwap(nil, o) {
		l.mu.Unlock()
		return
	}
	waiting := l.queue
	l.queue = nil
	l.wg.Add(1)
	l.mu.Unlock()
	l.calls.Add(int64(-len(waiting)))
	for _, c := range waiting {
		c.err = o.err
		c.done <- struct{}{}
	}
	go l.recover(o)
}

// recover probes until Redis takes writes again.
func (l *link) recover(o *outage) {
	defer l.wg.Done()
	l.onChange(o)
	results := make(chan error, maxProbes)
	running := 0
	for attempt := 0; ; attempt++ {
		if running < maxProbes {
			running++
			go func() { results <- l.probe() }()
		}
		patience := time.NewTimer(probeEvery)
		select {
		case err := <-results:
			patience.Stop()
			running--
			if err == nil {
				l.back.Store(time.Now().UnixNano())
				l.down.Store(nil)
				close(o.over)
				l.onChange(nil)
				return
			}
			if probePauses.Wait(l.ctx, attempt) != nil {
				return
			}
		case <-patience.C:
		case <-l.ctx.Done():
			patience.Stop()
			return
		}
	}
}

// probe writes a key that expires: a Redis that is full, or a replica, answers
// a PING but is of no use.
func (l *link) probe() error {
	ctx, cancel := context.WithTimeoutCause(l.ctx, 2*time.Second, errTimeout)
	defer cancel()
	return l.client.Set(ctx, l.probeKey, "", time.Second).Err()
}

// ping asks Redis now, within the timeout.
func (l *link) ping(ctx context.Context) error {
	result := make(chan error, 2)
	go func() { result <- l.probe() }()
	timer := time.AfterFunc(l.timeout, func() {
		catchUp(l.timeout)
		result <- errTimeout
	})
	defer timer.Stop()
	select {
	case err := <-result:
		if err != nil {
			l.fail(err)
			return unavailable(err)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close refuses calls from now on and waits for the prober.
func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	waiting := l.queue
	l.queue = nil
	l.mu.Unlock()
	l.cancel(ErrClosed)
	for _, c := range waiting {
		c.err = ErrClosed
		c.done <- struct{}{}
	}
	l.wg.Wait()
}

// away reports whether an error means that Redis could not do its work, rather
// than that it answered. Refusing writes counts: a session that cannot be saved
// is better kept here.
func away(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) {
		return false
	}
	if _, reply := errors.AsType[redis.Error](err); !reply {
		return true
	}
	for _, prefix := range []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "OOM", "MISCONF", "NOREPLICAS", "NOAUTH", "WRONGPASS", "NOPERM", "BUSY"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return redis.IsMaxClientsError(err)
}
