package session

import (
	"context"
	"crypto/sha1" //nolint:gosec // what Redis names scripts by
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
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

// A script is Lua that Redis runs in one step.
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // the name that Redis gives it, no protection
	return script{text: text, sha: hex.EncodeToString(sum[:])}
}

// eval runs a script by its hash, and by its text if Redis does not know it.
func (l *link) eval(ctx context.Context, s script, keys []string, args ...any) (any, error) {
	full := make([]any, 0, 3+len(keys)+len(args))
	full = append(full, "evalsha", s.sha, len(keys))
	for _, k := range keys {
		full = append(full, k)
	}
	full = append(full, args...)
	cmd := redis.NewCmd(ctx, full...)
	if err := l.do(ctx, cmd); err != nil {
		return nil, err
	}
	if err := cmd.Err(); err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		cmd = redis.NewCmd(ctx, append([]any{"eval", s.text}, full[2:]...)...)
		if err := l.do(ctx, cmd); err != nil {
			return nil, err
		}
	}
	switch err := cmd.Err(); {
	case err == nil, errors.Is(err, redis.Nil):
		return cmd.Val(), nil
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return nil, errCorrupt
	default:
		return nil, fmt.Errorf("script: %w", err)
	}
}
