package pgpool

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// lookEvery is how late the end of a context may be noticed.
const lookEvery = 5 * time.Millisecond

// lookOut sees to it that the contexts of those who wait for a connection, and of
// the statements that run, are looked at while there are any. One goroutine looks
// at all of a node: to be told by each context, and by a timer where there is a
// limit, costs a tenth of a small query.
func (n *node) lookOut() {
	if !n.looking.Load() && n.looking.CompareAndSwap(false, true) {
		go n.keepLooking()
	}
}

func (n *node) keepLooking() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for range tick.C {
		if n.look() {
			continue
		}
		n.looking.Store(false)
		// Who came after the look may have found that somebody was looking.
		if !n.look() || !n.looking.CompareAndSwap(false, true) {
			return
		}
	}
}

// look acts on contexts that have ended, and reports whether any are left.
func (n *node) look() bool {
	waiting := n.waiting.sendOut()
	running := n.cancelEnded()
	return waiting || running
}

// cancelEnded cancels the statements whose context has ended. It reports whether
// any statement runs whose context may end.
func (n *node) cancelEnded() (running bool) {
	n.conns.Lock()
	defer n.conns.Unlock()
	for w, conn := range n.conns.set {
		running = w.cancelEnded(conn) || running
	}
	return running
}

func (w *wire) cancelEnded(conn *pgconn.PgConn) (running bool) {
	u := &w.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ctx == nil {
		return false
	}
	if u.ctx.Err() != nil {
		u.ctx = nil
		w.cancel(conn)
	}
	return true
}

// watched is the context of a statement as pgx sees it. pgx need not be told of
// its end, as lookOut is there for that.
type watched struct{ context.Context }

// Done implements context.Context.
func (watched) Done() <-chan struct{} { return nil }
