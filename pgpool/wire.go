package pgpool

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// A wire is the network connection under one pgx connection. It stands between
// pgx and the socket, and so knows what nobody above it can know:
//
//   - whether a statement was sent at all, counted where the bytes leave. The
//     answer of pgconn.SafeToRetry is wrong for COMMIT and a few others.
//   - whether the server has closed the connection, by a look at the socket
//     that costs no round trip.
//   - the statements that a transaction wants executed before its first one
//     (BEGIN and what belongs to it): they leave in the same packet and their
//     replies are taken out of the stream, see prefix.go.
//
// One goroutine uses a connection at a time; its reads may happen on another
// one, and the watchdog looks at usage.
type wire struct {
	net.Conn
	node *node

	ready bool          // the start-up exchange is over, messages have types
	runs  atomic.Uint64 // messages sent that make the server execute something

	prefix prefix
	peeker peeker
	usage  usage

	// A cancel request may still be on its way and hit the next statement.
	// cancelling is closed when it has been delivered.
	flagged    atomic.Bool
	cancelling atomic.Pointer[chan struct{}]
	doomed     atomic.Bool // leave the pool at the next acquire
	suspect    atomic.Bool // has something to say: a farewell, if the ping fails
	epoch      string      // see epoch.go; "" until a transaction asked for it
	readOnly   bool        // in a transaction that asked to be read-only
	prompt     bool        // the first statement follows the acquire at once, and needs no look at the clock
}

func newWire(n *node, conn net.Conn) *wire {
	w := &wire{Conn: n.callers.Wrap(conn), node: n}
	w.prefix.wire = w
	w.peeker.init(conn)
	return w
}

// wireOf returns the wire of a connection that the pool made.
func wireOf(conn *pgx.Conn) *wire {
	w, _ := conn.PgConn().Conn().(*wire)
	return w
}

// Write sends b, with the prefix in front if there is one.
func (w *wire) Write(b []byte) (int, error) {
	if len(b) > 0 && b[0] == 'X' { // Terminate, which pgx may send from another goroutine
		return w.Conn.Write(b)
	}
	if w.prefix.pending() {
		return w.prefix.write(b)
	}
	n, err := w.Conn.Write(b)
	w.sent(b, n)
	return n, err
}

// sent notes what was written: if anything of b left, its statements count as
// run.
func (w *wire) sent(b []byte, n int) {
	if n == 0 || !w.ready {
		return
	}
	for len(b) >= 5 {
		switch b[0] {
		case 'E', 'Q', 'F': // Execute, Query, FunctionCall
			w.runs.Add(1)
			return
		}
		size := 1 + int(uint32(b[1])<<24|uint32(b[2])<<16|uint32(b[3])<<8|uint32(b[4]))
		if size > len(b) {
			return
		}
		b = b[size:]
	}
}

// Read receives, without the replies to the prefix.
func (w *wire) Read(b []byte) (int, error) {
	if !w.prefix.filtering.Load() {
		n, err := w.Conn.Read(b)
		// pgx may read in the background while it writes: the filter can have
		// been turned on during this very Read.
		if n == 0 || !w.prefix.filtering.Load() {
			return n, err
		}
		w.prefix.feed(b[:n])
	}
	return w.prefix.read(b)
}

// SetDeadline passes the deadline on. pgx gives a connection that it abandons
// 15 s to say goodbye, and the pool's slot with it; one that did not react to a
// cancel request gets less.
func (w *wire) SetDeadline(t time.Time) error {
	if w.flagged.Load() && !t.IsZero() {
		if soon := time.Now().Add(cancelGrace); t.After(soon) {
			t = soon
		}
	}
	return w.Conn.SetDeadline(t)
}

// Close closes the socket and forgets the connection.
func (w *wire) Close() error {
	if w.suspect.Swap(false) {
		w.node.peeked.Add(1)
	}
	w.node.forget(w)
	return w.Conn.Close()
}

// settle waits until a cancel request that was sent for an earlier statement
// can no longer hit the next one. It is bounded by cancelGrace.
func (w *wire) settle() {
	if c := w.cancelling.Load(); c != nil {
		<-*c
		w.cancelling.CompareAndSwap(c, nil)
		// The watchdog's deadline. pgx takes back only those of contexts.
		_ = w.Conn.SetDeadline(time.Time{})
	}
}

// rawOf finds the file descriptor of a connection, below TLS.
func rawOf(conn net.Conn) syscall.RawConn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// liveness is what a look at the socket tells.
type liveness int

const (
	alive   liveness = iota // open, and nothing to read
	pending                 // something to read: a farewell, a notice, or a key update of TLS
	dead                    // closed by the server, or broken
	unknown                 // this connection cannot be looked at
)

// usage is what a connection is doing, for those who ask from outside.
type usage struct {
	mu       sync.Mutex
	acquired int64           // see clock; 0 while idle
	started  int64           // of the running statement; 0 between statements
	ctx      context.Context //nolint:containedctx // of the running statement, if it may end; see lookOut
	sql      string
	args     []any
	inTx     bool
	slow     bool // the running statement was reported as slow
	leaked   bool // the holder was reported
	expired  bool // the running statement was cancelled for QueryTimeout
	callers  [12]uintptr
	depth    int
}

// clock is a monotonic time in nanoseconds, never 0. It costs half of
// time.Now.
func clock() int64 { return int64(time.Since(processStart)) + 1 }

var processStart = time.Now()
