package rediscache

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pedro-go/pedro/internal/busypoll"
)

// errDialing is the error of a call that needed a new connection which is
// still being made. The connection is kept for the next call.
var errDialing = errors.New("still connecting")

// A dialer makes the connections of one client. It differs from a plain one in
// three ways, all because of what go-redis' pool does with failures:
//
//   - A failed dial returns a connection that fails on first use. The pool
//     counts failed dials, and after as many as it has places it asks the
//     network only once a second, whatever the gate says; it does not count
//     these.
//   - A slow dial returns such a connection after patience, and goes on in the
//     background; the pool takes what came of it at its next dial. A caller
//     without a deadline would else wait for the whole of DialTimeout.
//   - Every connection is guarded against oversized replies.
type dialer struct {
	network  string // unix, or tcp for any address that go-redis asks for
	addr     string // the socket's path with unix
	patience time.Duration
	total    time.Duration
	tls      *tls.Config
	maxReply int64
	callers  busypoll.Group

	mu     sync.Mutex
	spare  map[string][]net.Conn // made, but nobody waited
	deaths map[string]*atomic.Uint32
	closed bool
	wg     sync.WaitGroup
	ctx    context.Context // ends dials in the background
	cancel context.CancelFunc
}

func newDialer(network, addr string, cfg Config, tlsCfg *tls.Config) *dialer {
	d := &dialer{
		network: network, addr: addr, tls: tlsCfg,
		patience: cfg.Timeout / 2, total: cfg.DialTimeout, maxReply: cfg.MaxReplyBytes,
		spare: map[string][]net.Conn{}, deaths: map[string]*atomic.Uint32{},
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// close gives up dials that are under way and closes what nobody took.
func (d *dialer) close() {
	d.cancel()
	d.mu.Lock()
	d.closed = true
	for _, conns := range d.spare {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	d.spare = nil
	d.mu.Unlock()
	d.wg.Wait()
}

// died marks every connection to addr that exists as dead; "" means all.
func (d *dialer) died(addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for a, n := range d.deaths {
		if addr == "" || a == addr {
			n.Add(1)
		}
	}
	for a, conns := range d.spare {
		if addr == "" || a == addr {
			for _, conn := range conns {
				_ = conn.Close()
			}
			delete(d.spare, a)
		}
	}
}

// dial is what go-redis calls. It never returns an error.
func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.network == "unix" {
		network, addr = d.network, d.addr
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return newDeadConn(network, addr, net.ErrClosed), nil
	}
	deaths := d.livesLocked(addr)
	if conns := d.spare[addr]; len(conns) > 0 {
		conn := conns[len(conns)-1]
		d.spare[addr] = conns[:len(conns)-1]
		d.mu.Unlock()
		return newGuardConn(d.callers.Wrap(conn), d.maxReply, deaths), nil
	}
	p := &attempt{result: make(chan dialed, 1)}
	d.wg.Go(func() { d.connect(network, addr, p) })
	d.mu.Unlock()

	patience := time.NewTimer(d.patience)
	defer patience.Stop()
	var err error
	select {
	case r := <-p.result:
		return d.made(network, addr, r, deaths), nil
	case <-patience.C:
		err = errDialing
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if !p.settled.CompareAndSwap(false, true) {
		return d.made(network, addr, <-p.result, deaths), nil // it came at the last moment
	}
	return newDeadConn(network, addr, err), nil
}

// lives returns the count of deaths of the server at addr.
func (d *dialer) lives(addr string) *atomic.Uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.livesLocked(addr)
}

func (d *dialer) livesLocked(addr string) *atomic.Uint32 {
	deaths := d.deaths[addr]
	if deaths == nil {
		deaths = new(atomic.Uint32)
		d.deaths[addr] = deaths
	}
	return deaths
}

func (d *dialer) made(network, addr string, r dialed, deaths *atomic.Uint32) net.Conn {
	if r.err != nil {
		return newDeadConn(network, addr, r.err)
	}
	return newGuardConn(d.callers.Wrap(r.conn), d.maxReply, deaths)
}

// An attempt to dial is settled by the one who dials, with a result, or by the one
// who waits, by giving up: whoever is first.
type attempt struct {
	settled atomic.Bool
	result  chan dialed
}

type dialed struct {
	conn net.Conn
	err  error
}

// connect dials, TLS included, within total.
func (d *dialer) connect(network, addr string, p *attempt) {
	ctx, cancel := context.WithTimeout(d.ctx, d.total)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil && d.tls != nil && network != "unix" {
		conn, err = d.secure(ctx, network, addr, conn)
	}
	if p.settled.CompareAndSwap(false, true) {
		p.result <- dialed{conn, err}
		return
	}
	if err == nil {
		d.keep(addr, conn)
	}
}

// secure puts TLS on a connection. It closes the connection if that fails.
func (d *dialer) secure(ctx context.Context, network, addr string, conn net.Conn) (net.Conn, error) {
	cfg := d.tls
	if cfg.ServerName == "" && !cfg.InsecureSkipVerify {
		cfg = cfg.Clone()
		cfg.ServerName, _, _ = net.SplitHostPort(addr)
	}
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Addr: nodeAddr{network, addr}, Err: err}
	}
	return secured, nil
}

// keep puts a connection that nobody waited for aside.
func (d *dialer) keep(addr string, conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	const most = 8
	if d.closed || len(d.spare[addr]) >= most {
		_ = conn.Close()
		return
	}
	d.spare[addr] = append(d.spare[addr], conn)
}

// A deadConn is a connection that was never made: its first use tells why.
type deadConn struct {
	network, addr string
	err           error
}

func newDeadConn(network, addr string, err error) *deadConn {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "dial" {
		op = &net.OpError{Op: "dial", Net: network, Addr: nodeAddr{network, addr}, Err: err}
	}
	return &deadConn{network: network, addr: addr, err: &dialError{op}}
}

// A dialError keeps the *net.OpError, and so the address, from go-redis, which
// takes one layer off the errors of a connection's first use.
type dialError struct{ op *net.OpError }

func (e *dialError) Error() string { return e.op.Error() }
func (e *dialError) Unwrap() error { return e.op }

func (c *deadConn) Read([]byte) (int, error)         { return 0, c.err }
func (c *deadConn) Write([]byte) (int, error)        { return 0, c.err }
func (c *deadConn) Close() error                     { return nil }
func (c *deadConn) LocalAddr() net.Addr              { return nodeAddr{c.network, ""} }
func (c *deadConn) RemoteAddr() net.Addr             { return nodeAddr{c.network, c.addr} }
func (c *deadConn) SetDeadline(time.Time) error      { return nil }
func (c *deadConn) SetReadDeadline(time.Time) error  { return nil }
func (c *deadConn) SetWriteDeadline(time.Time) error { return nil }

// SyscallConn fails, which is how the pool finds a dead connection among its
// idle ones before anybody gets it.
func (c *deadConn) SyscallConn() (syscall.RawConn, error) { return nil, c.err }

type nodeAddr struct{ network, addr string }

func (a nodeAddr) Network() string { return a.network }
func (a nodeAddr) String() string  { return a.addr }
