package rediscache

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pedro-go/pedro/internal/backoff"
)

// How a gate opens and closes again. A refused connection leaves no doubt; a
// time-out or a broken connection might be one slow command or one cut cable,
// so it takes two in a row, without any success between them.
const (
	failuresToOpen = 2
	probeTimeout   = 100 * time.Millisecond
	// authPause is the pause between probes while Redis refuses our
	// credentials: each attempt is an entry in its ACL log.
	authPause = time.Second
	// nodePatience is how long a node of a Cluster is probed. A node that was
	// taken away for good never answers; the next call will tell.
	nodePatience = time.Minute
)

// probePauses lets a gate notice the return within 100 ms.
var probePauses = backoff.Policy{Min: 25 * time.Millisecond, Max: 100 * time.Millisecond}

// A gate is the circuit breaker in front of one server.
//
//	        first refusal, or 2 failures in a row
//	closed ───────────────────────────────────────▶ open: calls are refused
//	   ▲                                              │    in a microsecond
//	   └──────────── a probe got its PONG ◀───────────┘
//
// There is no half-open state in which callers try their luck: one goroutine
// probes, and callers pay nothing.
type gate struct {
	addr     string        // of a node; empty for a single server
	timeout  time.Duration // Config.Timeout
	prober   func() (ping func(ctx context.Context) error, end func())
	spawn    func(f func(ctx context.Context)) bool
	onChange func(g *gate, cause error)
	onDeath  func()

	state    atomic.Pointer[unavailableError] // nil: closed
	failures atomic.Int32                     // in a row
	epoch    atomic.Uint32                    // counts openings: late failures of the time before do not count
	answered atomic.Bool                      // has ever answered
	mu       sync.Mutex                       // serializes changes
}

// allow returns nil, or at once why the server cannot be asked.
func (g *gate) allow() error {
	if e := g.state.Load(); e != nil {
		return e
	}
	return nil
}

// ok notes a reply.
func (g *gate) ok() {
	if g.failures.Load() != 0 {
		g.failures.Store(0)
	}
	if !g.answered.Load() && g.answered.CompareAndSwap(false, true) {
		g.onChange(g, nil)
	}
}

// failed notes the outcome of a call that began in epoch and failed after took.
func (g *gate) failed(c class, err error, epoch uint32, took time.Duration) {
	if epoch != g.epoch.Load() {
		return
	}
	switch c {
	case classRefused:
		g.open(err, true)
	case classNotReady:
		if !isClusterDown(err) { // a healthy node can say that of its cluster
			g.open(err, false)
		}
	case classTimeout:
		// A caller's own short limit says little about the server.
		if took < min(probeTimeout, g.timeout)/2 {
			return
		}
		fallthrough
	case classBroken, classAuth:
		if g.failures.Add(1) >= failuresToOpen {
			g.open(err, c == classBroken)
		}
	case classCanceled, classBusy:
		// Nobody was asked.
	default:
		g.ok()
	}
}

// open refuses calls from now on and starts probing. The death of the server
// means that its connections are dead too.
func (g *gate) open(cause error, death bool) {
	g.mu.Lock()
	if g.state.Load() != nil {
		g.mu.Unlock()
		return
	}
	g.epoch.Add(1)
	g.failures.Store(0)
	g.state.Store(&unavailableError{cause: cause})
	g.mu.Unlock()

	if death {
		g.onDeath()
	}
	g.onChange(g, cause)
	if !g.spawn(g.probeUntilBack) {
		g.close()
	}
}

// close lets calls through again.
func (g *gate) close() {
	g.mu.Lock()
	g.failures.Store(0)
	g.state.Store(nil)
	g.mu.Unlock()
	g.onChange(g, nil)
}

func (g *gate) probeUntilBack(ctx context.Context) {
	ping, end := g.prober()
	defer end()
	began := time.Now()
	for attempt := 0; ; attempt++ {
		// The first probe comes at once: it ends a false alarm in a millisecond.
		err := probeOnce(ctx, ping, max(probeTimeout, g.timeout/2))
		if err == nil {
			g.answered.Store(true)
			g.close()
			return
		}
		if ctx.Err() != nil || g.addr != "" && time.Since(began) > nodePatience {
			g.close()
			return
		}
		pause := probePauses
		if classify(err) == classAuth {
			pause = backoff.Policy{Min: authPause, Max: authPause}
		}
		if pause.Wait(ctx, attempt) != nil {
			g.close()
			return
		}
	}
}

func probeOnce(ctx context.Context, ping func(ctx context.Context) error, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return ping(ctx)
}
