package faultproxy

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/ports"
)

// Proxy forwards connections to one server. Its methods are safe for concurrent use.
type Proxy struct {
	target string
	proto  func() protocol
	port   *ports.Port
	wg     sync.WaitGroup

	mu       sync.Mutex
	listener *net.TCPListener // nil while connections are refused
	links    map[*link]bool
	accepted int
	closed   bool
	faults   faults
	changed  chan struct{} // closed and replaced when faults change
	hook     func(*Message) Verdict
}

// faults are those of the network.
type faults struct {
	latency, jitter time.Duration
	bandwidth       int // bytes per second in each direction of each connection; 0: no limit
	stalled         [2]bool
	cutAfter        [2]int64 // 0: never
	cutEpoch        int      // counts calls of CutAfter, each of which begins to count bytes anew
}

// Option announces a protocol.
type Option func(*Proxy)

// New starts a proxy in front of target, "host:port", on a loopback port of its own. Close it.
func New(target string, opts ...Option) (*Proxy, error) {
	port, err := ports.Reserve()
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	p := &Proxy{
		target: target, port: port, proto: func() protocol { return raw{} },
		links: map[*link]bool{}, changed: make(chan struct{}),
	}
	for _, opt := range opts {
		opt(p)
	}
	if err := p.Heal(); err != nil {
		port.Release()
		return nil, err
	}
	return p, nil
}

// Start is [New] for a test. The proxy is closed when the test ends.
func Start(tb testing.TB, target string, opts ...Option) *Proxy {
	tb.Helper()
	p, err := New(target, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// Addr is where clients connect, "127.0.0.1:20000".
func (p *Proxy) Addr() string { return p.port.Addr() }

// URL is a server's URL with the proxy's address in place of the server's.
func (p *Proxy) URL(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server // a client will say so better
	}
	u.Host = p.Addr()
	return u.String()
}

// Links is how many connections are open.
func (p *Proxy) Links() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Accepted is how many connections there have been.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Close cuts all connections and ends the proxy. It may be called twice.
func (p *Proxy) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	p.mu.Unlock()
	_ = p.Refuse()
	p.Reset()
	p.wg.Wait()
	p.port.Release()
}

// OnMessage sets the hook that decides what becomes of each message, nil for none. It holds for messages that arrive from now on.
func (p *Proxy) OnMessage(hook func(*Message) Verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = hook
}

// Latency delays everything in each direction by d and up to jitter more.
func (p *Proxy) Latency(d, jitter time.Duration) {
	p.set(func(f *faults) { f.latency, f.jitter = d, jitter })
}

// Bandwidth limits each direction of each connection to so many bytes a second. Zero ends the limit.
func (p *Proxy) Bandwidth(bytesPerSecond int) {
	p.set(func(f *faults) { f.bandwidth = bytesPerSecond })
}

// HalfOpen lets nothing through in one direction: the sender's writes succeed until the kernel's buffers are full, and the
// receiver waits. Healing lets what was held up arrive, as TCP does.
func (p *Proxy) HalfOpen(dir Direction) {
	p.set(func(f *faults) { f.stalled[dir] = true })
}

// Blackhole is [Proxy.HalfOpen] in both directions: a machine that has lost its network.
func (p *Proxy) Blackhole() {
	p.set(func(f *faults) { f.stalled = [2]bool{true, true} })
}

// CutAfter resets each connection once n more bytes have gone through in one direction, in mid-message if need be.
func (p *Proxy) CutAfter(dir Direction, n int64) {
	p.set(func(f *faults) {
		f.cutAfter[dir] = n
		f.cutEpoch++
	})
}

// Reset cuts all open connections on both sides by a reset.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
}

// Refuse makes new connections fail with "connection refused". Open ones go on; see [Proxy.Reset].
func (p *Proxy) Refuse() error {
	p.mu.Lock()
	l := p.listener
	p.listener = nil
	p.mu.Unlock()
	if l == nil {
		return nil
	}
	if err := ports.Close(l); err != nil {
		return fmt.Errorf("faultproxy: %w", err)
	}
	return nil
}

// Heal ends all faults of the network, and refusal. The hook stays.
func (p *Proxy) Heal() error {
	p.set(func(f *faults) { *f = faults{cutEpoch: f.cutEpoch + 1} })
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("faultproxy: heal: %w", net.ErrClosed)
	}
	if p.listener != nil {
		return nil
	}
	l, err := p.port.Listen()
	if err != nil {
		return fmt.Errorf("faultproxy: %w", err)
	}
	p.listener = l
	p.wg.Go(func() { p.accept(l) })
	return nil
}

func (p *Proxy) set(change func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.faults)
	close(p.changed)
	p.changed = make(chan struct{})
}

// state returns the faults and a channel that is closed when they change.
func (p *Proxy) state() (faults, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.changed
}

func (p *Proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // out of descriptors, perhaps
			continue
		}
		p.mu.Lock()
		p.accepted++
		number := p.accepted
		p.mu.Unlock()
		p.wg.Go(func() { p.serve(client, number) })
	}
}

// dialTimeout bounds the connection to the server, which stands on the same machine.
const dialTimeout = 5 * time.Second

func (p *Proxy) serve(client net.Conn, number int) {
	server, err := net.DialTimeout("tcp", p.target, dialTimeout) //nolint:noctx // bounded as it is
	if err != nil {
		reset(client)
		return
	}
	l := newLink(p, number, client, server)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		l.cut()
		return
	}
	p.links[l] = true
	p.mu.Unlock()
	l.run()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// judge asks the hook.
func (p *Proxy) judge(m *Message) Verdict {
	p.mu.Lock()
	hook := p.hook
	p.mu.Unlock()
	if hook == nil {
		return Pass
	}
	return hook(m)
}
