package pgpool

import (
	"sync"
	"time"
)

// A watchdog looks at the connections in use a few times a second: it cancels
// statements that ran into QueryTimeout, and reports slow statements while they
// run and connections that are held too long. One goroutine does for all what
// a context with a deadline would cost every single query.
type watchdog struct {
	once sync.Once
	quit chan struct{}
	done chan struct{}
}

// watch starts the watchdog with the first connection.
func (p *Pool) watch() {
	p.dog.once.Do(func() {
		go func() {
			defer close(p.dog.done)
			tick := time.NewTicker(p.watchEvery())
			defer tick.Stop()
			for {
				select {
				case <-p.dog.quit:
					return
				case <-tick.C:
					for _, n := range p.nodes() {
						n.patrol()
					}
				}
			}
		}()
	})
}

// watchEvery is a quarter of the shortest limit, between 5 and 250 ms.
func (p *Pool) watchEvery() time.Duration {
	every := time.Second
	for _, d := range []time.Duration{p.cfg.QueryTimeout, p.cfg.SlowQuery, p.opts.leakAfter} {
		if d > 0 {
			every = min(every, d)
		}
	}
	return max(every/4, 5*time.Millisecond)
}

// stop ends the watchdog, also one that never started.
func (d *watchdog) stop() {
	d.once.Do(func() { close(d.done) })
	close(d.quit)
	<-d.done
}

// patrol looks at each connection of the node once.
func (n *node) patrol() {
	now := clock()
	slowAfter, leakAfter := n.pool.cfg.SlowQuery, n.pool.opts.leakAfter
	limit := n.timeout
	if n.isTransactionMode() && n.pool.cfg.StatementTimeout > 0 { // the server does not watch over single statements
		if limit <= 0 || n.pool.cfg.StatementTimeout < limit {
			limit = n.pool.cfg.StatementTimeout
		}
	}
	var slow []SlowQuery
	var leaks []Holder
	var inUse int32
	n.conns.Lock()
	for w, conn := range n.conns.set {
		u := &w.usage
		u.mu.Lock()
		if u.started != 0 {
			ran := time.Duration(now - u.started)
			if limit > 0 && ran > limit && !u.expired {
				u.expired = true
				w.cancel(conn)
			}
			if slowAfter > 0 && ran > slowAfter && !u.slow {
				u.slow = true
				slow = append(slow, SlowQuery{SQL: u.sql, Args: describeArgs(u.args), Took: ran, PID: conn.PID(), Running: true})
			}
		}
		if u.acquired != 0 {
			inUse++
		}
		if held := time.Duration(now - u.acquired); u.acquired != 0 && leakAfter > 0 && held > leakAfter && !u.leaked {
			u.leaked = true
			leaks = append(leaks, Holder{
				PID: conn.PID(), Held: held, SQL: u.sql, Active: u.started != 0, InTx: u.inTx, Stack: stackOf(u.callers[:u.depth]),
			})
		}
		u.mu.Unlock()
	}
	n.conns.Unlock()
	n.peak.Store(max(n.peak.Load(), inUse)) // the watchdog is the only one who stores
	for _, s := range slow {
		n.slowQuery(s)
	}
	for _, h := range leaks {
		n.pool.opts.logger.Warn("connection held for long", "node", n.name, "pid", h.PID, "held", h.Held, "sql", shorten(h.SQL, 200),
			"active", h.Active, "in_tx", h.InTx, "stack", h.Stack)
	}
}

// returned reports that a connection reported as held came back after all.
func (n *node) returned(pid uint32, held time.Duration) {
	n.pool.opts.logger.Info("long-held connection returned", "node", n.name, "pid", pid, "held", held)
}
