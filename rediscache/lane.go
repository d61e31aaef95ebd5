package rediscache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/batches"
	"github.com/pedro-go/pedro/internal/workers"
)

// How calls share round trips. Each call by itself costs Redis and us a system
// call each way, which is most of what it costs; calls that share one divide
// it. But sharing must not make anybody wait.
//
//   - Up to directCalls at a time each go by themselves, on the goroutine of
//     the caller: the fastest way when there is nobody to share with.
//   - Above, calls queue, and a batch leaves as soon as nothing is under way, or
//     it is a fair share: see [batches.Pace].
//   - Large values go by themselves too, each on a connection of its own: they
//     cost so much that a system call more does not matter, and behind one
//     another they would wait.
const (
	directCalls = 3
	largeValue  = 8 << 10 // bytes, of what was read lately, on average
)

// A lane is the way of small reads and writes to Redis.
type lane struct {
	client  redis.UniversalClient
	cluster bool
	allow   func() error // refuses at once while the only server is away
	senders *workers.Pool[[]*request]

	calls atomic.Int64 // under way: direct, queued, in batches
	size  atomic.Int64 // of the values read lately, on average

	mu      sync.Mutex
	queue   []*request
	batches int // under way
	pace    batches.Pace
}

// newLane returns a lane whose goroutines end with done.
func newLane(l *link, done <-chan struct{}) *lane {
	lane := &lane{client: l.client, cluster: l.cluster != nil, allow: l.allow}
	lane.senders = workers.New(done, lane.run)
	return lane
}

// A request is one call of a batch.
type request struct {
	key   string
	value []byte // to store; nil to read
	args  []any  // of SET, after the key
	reply []byte // what was read; nil if there is nothing
	err   error
	done  chan struct{} // gets one value when reply and err are set
}

// An endedError is that of a call whose context ended before it was answered. The
// cause may be anything, also what would mean something else coming from Redis.
type endedError struct{ end, cause error }

func ended(ctx context.Context) error { return &endedError{end: ctx.Err(), cause: context.Cause(ctx)} }

func (e *endedError) Error() string   { return e.cause.Error() }
func (e *endedError) Unwrap() []error { return []error{e.end, e.cause} }

// An abandonedError is that of a caller that gave up: the write may land
// later, but before done gets its value.
type abandonedError struct {
	error

	done chan struct{}
}

func (e *abandonedError) Unwrap() error { return e.error }

var requests = sync.Pool{New: func() any { return &request{done: make(chan struct{}, 1)} }}

// get reads a key. What is shared is part of a larger piece of memory.
func (l *lane) get(ctx context.Context, key string) (data []byte, shared bool, err error) {
	if l.calls.Add(1) <= directCalls || l.size.Load() > largeValue {
		defer l.left()
		data, err = value(l.client.Get(ctx, key))
		l.measured(len(data))
		return data, false, err
	}
	r := requests.Get().(*request)
	r.key, r.value, r.args = key, nil, nil
	data, err = l.share(ctx, r)
	return data, true, err
}

// measured notes the size of a value. Small ones after small ones cost no
// write, which all callers would contend for.
func (l *lane) measured(size int) {
	const part, small = 8, largeValue / 8
	if old := l.size.Load(); size > small || old > small {
		l.size.Store(old + (int64(size)-old)/part)
	}
}

// value is what a GET returned: nil if there is nothing; something that is no
// value of ours if there is another type.
func value(cmd *redis.StringCmd) ([]byte, error) {
	data, err := cmd.Bytes()
	switch {
	case err == nil:
		return data, nil
	case errors.Is(err, redis.Nil):
		return nil, nil
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return []byte{}, nil
	default:
		return nil, err
	}
}

// set runs SET key value args.
func (l *lane) set(ctx context.Context, key string, value []byte, args ...any) error {
	if l.calls.Add(1) <= directCalls || len(value) > largeValue {
		defer l.left()
		return l.client.Process(ctx, setCmd(ctx, key, value, args))
	}
	r := requests.Get().(*request)
	r.key, r.value, r.args = key, value, args
	_, err := l.share(ctx, r)
	return err
}

func setCmd(ctx context.Context, key string, value []byte, args []any) *redis.StatusCmd {
	return redis.NewStatusCmd(ctx, append([]any{"set", key, value}, args...)...)
}

// left notes the end of a direct call.
func (l *lane) left() {
	if l.calls.Add(-1) > 0 {
		l.mu.Lock()
		l.dispatchLocked()
		l.mu.Unlock()
	}
}

// share puts a request into the queue and waits for it, as long as ctx lets it.
// The batch itself does not depend on any caller's context, so a caller that
// gives up harms neither the others nor the connection.
func (l *lane) share(ctx context.Context, r *request) ([]byte, error) {
	err := l.allow()
	if err == nil && ctx.Err() != nil {
		err = ended(ctx)
	}
	if err != nil {
		l.calls.Add(-1)
		return nil, err
	}
	l.mu.Lock()
	l.queue = append(l.queue, r)
	l.dispatchLocked()
	l.mu.Unlock()

	if gone := ctx.Done(); gone == nil {
		<-r.done // cheaper than a select
	} else {
		select {
		case <-r.done:
		case <-gone: // r goes with its batch
			if r.value != nil {
				return nil, &abandonedError{ended(ctx), r.done}
			}
			return nil, ended(ctx)
		}
	}
	reply, err := r.reply, r.err
	*r = request{done: r.done}
	requests.Put(r)
	return reply, err
}

// dispatchLocked sends off a batch if it is time to.
func (l *lane) dispatchLocked() {
	for l.pace.Due(len(l.queue), l.calls.Load(), l.batches) {
		n := min(len(l.queue), batches.Max)
		batch := l.queue[:n:n]
		l.queue = l.queue[n:]
		if len(l.queue) == 0 {
			l.queue = nil
		}
		l.batches++
		l.senders.Go(batch)
	}
}

// run carries out a batch.
func (l *lane) run(batch []*request) {
	start := time.Now()
	l.carryOut(batch)
	if batch[0].err == nil { // one that was refused tells nothing of the distance
		l.pace.Took(time.Since(start))
	}
	l.calls.Add(int64(-len(batch)))
	l.mu.Lock()
	l.batches--
	l.dispatchLocked()
	l.mu.Unlock()
	for _, r := range batch {
		r.done <- struct{}{}
	}
}

// carryOut sets reply and err of each request. A hook of the host may panic.
func (l *lane) carryOut(batch []*request) {
	defer func() {
		if v := recover(); v != nil {
			fail(batch, fmt.Errorf("%w: panic: %v", errHook, v))
		}
	}()
	ctx := context.Background() // the client's hook bounds it
	if l.cluster {
		l.pipeline(ctx, batch)
	} else {
		l.mget(ctx, batch)
	}
}

var errHook = errors.New("a hook of the Redis client failed")

// pipeline carries out a batch command by command.
func (l *lane) pipeline(ctx context.Context, batch []*request) {
	pipe := l.client.Pipeline()
	for _, r := range batch {
		if r.value == nil {
			_ = pipe.Process(ctx, redis.NewStringCmd(ctx, "get", r.key))
		} else {
			_ = pipe.Process(ctx, setCmd(ctx, r.key, r.value, r.args))
		}
	}
	cmds, err := pipe.Exec(ctx)
	for i, r := range batch {
		if len(cmds) != len(batch) {
			r.err = err
			continue
		}
		r.err = cmds[i].Err()
		if get, ok := cmds[i].(*redis.StringCmd); ok {
			r.reply, r.err = value(get)
		}
	}
}

// mget carries out a batch with one MGET for all that read.
func (l *lane) mget(ctx context.Context, batch []*request) {
	args := make([]any, 1, len(batch)+1)
	args[0] = "mget"
	for _, r := range batch {
		if r.value == nil {
			args = append(args, &r.key) // a pointer needs no boxing
		}
	}
	switch reads := len(args) - 1; {
	case reads < 2:
		l.pipeline(ctx, batch)
		return
	case reads == len(batch):
		cmd := redis.NewRawCmd(ctx, args...)
		switch err := l.client.Process(ctx, cmd); {
		case errors.Is(err, ErrTooLarge):
			l.oneByOne(ctx, batch)
		case err != nil:
			fail(batch, err)
		default:
			l.scatter(ctx, batch, cmd.Val())
		}
		return
	}
	pipe := l.client.Pipeline()
	read := redis.NewRawCmd(ctx, args...)
	_ = pipe.Process(ctx, read)
	var gets, sets []*request
	var stored []*redis.StatusCmd
	for _, r := range batch {
		if r.value == nil {
			gets = append(gets, r)
			continue
		}
		cmd := setCmd(ctx, r.key, r.value, r.args)
		_ = pipe.Process(ctx, cmd)
		sets, stored = append(sets, r), append(stored, cmd)
	}
	if _, err := pipe.Exec(ctx); errors.Is(err, ErrTooLarge) {
		l.oneByOne(ctx, batch)
		return
	}
	for i, r := range sets {
		r.err = stored[i].Err()
	}
	if err := read.Err(); err != nil {
		fail(gets, err)
		return
	}
	l.scatter(ctx, gets, read.Val())
}

// oneByOne carries out a batch in which one reply is too large, which broke the
// connection that all shared. What was stored is stored again.
func (l *lane) oneByOne(ctx context.Context, batch []*request) {
	for _, r := range batch {
		if r.value == nil {
			r.reply, r.err = value(l.client.Get(ctx, r.key))
		} else {
			r.err = l.client.Process(ctx, setCmd(ctx, r.key, r.value, r.args))
		}
	}
}

func fail(batch []*request, err error) {
	for _, r := range batch {
		r.err = err
	}
}

// scatter hands the values of a raw MGET reply to those who asked. They share
// its memory.
func (l *lane) scatter(ctx context.Context, batch []*request, raw []byte) {
	s := replySplitter{rest: raw}
	if s.array() != len(batch) {
		// An error, or not Redis: ask again in a form that go-redis reads.
		l.pipeline(ctx, batch)
		return
	}
	for _, r := range batch {
		r.reply = s.bulk()
	}
	l.measured(len(raw) / len(batch))
	if s.bad {
		l.pipeline(ctx, batch)
	}
}
