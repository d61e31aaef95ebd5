package faultproxy

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is one connection: two streams, each with a goroutine that reads and judges and one that delays and writes.
type link struct {
	proxy  *Proxy
	number int
	proto  protocol
	conns  [2]net.Conn // by the direction that reads from it: the client's first
	once   sync.Once
	gone   chan struct{} // closed when the link is over
	parted atomic.Bool   // one side has been cut off, and the other is still to get its last message
}

// parcel is a message on its way.
type parcel struct {
	data []byte
	due  time.Time
	then ending
}

// ending is what happens to a stream after a parcel.
type ending int

const (
	goesOn    ending = iota
	ends             // the sender has closed its side
	isCut            // both sides are reset
	senderCut        // the sender is reset before the parcel goes on, the receiver sees the end after it
)

// inFlight is how many parcels a stream holds while they are delayed. At 64 kB each that is more than any kernel buffers.
const inFlight = 1024

func newLink(p *Proxy, number int, client, server net.Conn) *link {
	return &link{
		proxy: p, number: number, proto: p.proto(),
		conns: [2]net.Conn{ToServer: client, ToClient: server}, gone: make(chan struct{}),
	}
}

// run returns when both streams are over and both connections are closed.
func (l *link) run() {
	var wg sync.WaitGroup
	for _, dir := range []Direction{ToServer, ToClient} {
		queue := make(chan parcel, inFlight)
		wg.Go(func() { l.read(dir, queue) })
		wg.Go(func() { l.write(dir, queue) })
	}
	wg.Wait()
	l.over(func(c net.Conn) { _ = c.Close() })
}

// cut resets both sides.
func (l *link) cut() { l.over(reset) }

func (l *link) over(end func(net.Conn)) {
	l.once.Do(func() {
		close(l.gone)
		end(l.conns[ToServer])
		end(l.conns[ToClient])
	})
}

// reset closes a connection in a way that the other side sees as "connection reset by peer".
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// read takes a stream apart and puts its messages, judged, into the queue.
func (l *link) read(dir Direction, queue chan<- parcel) {
	defer close(queue)
	var (
		buf []byte
		in  = make([]byte, 64<<10)
		due time.Time
	)
	for {
		n, err := l.conns[dir].Read(in)
		buf = append(buf, in[:n]...)
		for len(buf) > 0 {
			m, length := l.proto.next(dir, buf)
			if length == 0 {
				break
			}
			// A hook may replace the bytes, and they stay in flight: they need memory of their own.
			m.Link, m.Dir, m.Data = l.number, dir, append([]byte(nil), buf[:length]...)
			buf = buf[length:]
			p := parcel{}
			switch l.proxy.judge(&m) {
			case Pass:
				p.data = m.Data
			case Drop:
				continue
			case Cut:
				p.then = isCut
			case PassThenCut:
				p.data, p.then = m.Data, senderCut
			case Stall:
				l.swallow(dir)
				return
			}
			if due = l.dueAfter(due); !l.send(queue, p, due) || p.then != goesOn {
				return
			}
		}
		if err != nil {
			p := parcel{data: buf, then: ends}
			if !errors.Is(err, io.EOF) {
				p.then = isCut
			}
			l.send(queue, p, l.dueAfter(due))
			return
		}
	}
}

// swallow reads on without a word, so that the sender notices nothing, until the link is over.
func (l *link) swallow(dir Direction) {
	_, _ = io.Copy(io.Discard, l.conns[dir])
	<-l.gone
}

// dueAfter is when something that arrives now is handed on: later by latency and jitter, but not before what came before.
func (l *link) dueAfter(last time.Time) time.Time {
	f, _ := l.proxy.state()
	due := time.Now().Add(f.latency)
	if f.jitter > 0 {
		due = due.Add(rand.N(f.jitter)) //nolint:gosec // only noise
	}
	if due.Before(last) {
		return last
	}
	return due
}

func (l *link) send(queue chan<- parcel, p parcel, due time.Time) bool {
	p.due = due
	select {
	case queue <- p:
		return true
	case <-l.gone:
		return false
	}
}

// write hands parcels on when they are due and the network lets them through.
func (l *link) write(dir Direction, queue <-chan parcel) {
	to := l.conns[1-dir]
	w := &throttle{link: l, dir: dir, to: to}
	for {
		var p parcel
		select {
		case q, ok := <-queue:
			if !ok {
				return
			}
			p = q
		case <-l.gone:
			return
		}
		if !l.sleep(time.Until(p.due)) || !l.gate(dir) {
			return
		}
		if p.then == senderCut { // first, or the answer to the message could come through
			l.parted.Store(true)
			reset(l.conns[dir])
		}
		if !w.write(p.data) {
			return
		}
		switch p.then {
		case goesOn:
		case ends:
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			return
		case isCut:
			l.cut()
			return
		case senderCut:
			l.over(func(c net.Conn) { _ = c.Close() })
			return
		}
	}
}

// gate waits while the direction is stalled. It is false if the link is over.
func (l *link) gate(dir Direction) bool {
	for {
		f, changed := l.proxy.state()
		if !f.stalled[dir] {
			select {
			case <-l.gone:
				return false
			default:
				return true
			}
		}
		select {
		case <-changed:
		case <-l.gone:
			return false
		}
	}
}

// sleep waits. It is false if the link is over.
func (l *link) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.gone:
		return false
	}
}

// throttle writes at the bandwidth of the moment and cuts after so many bytes.
type throttle struct {
	link  *link
	dir   Direction
	to    net.Conn
	epoch int
	sent  int64 // in this epoch
}

// slicesPerSecond is how finely a limited bandwidth is dealt out.
const slicesPerSecond = 50

func (t *throttle) write(data []byte) bool {
	for len(data) > 0 {
		f, _ := t.link.proxy.state()
		if f.cutEpoch != t.epoch {
			t.epoch, t.sent = f.cutEpoch, 0
		}
		n := len(data)
		if f.bandwidth > 0 {
			n = min(n, max(1, f.bandwidth/slicesPerSecond))
		}
		limit := f.cutAfter[t.dir]
		if limit > 0 {
			n = int(min(int64(n), limit-t.sent))
		}
		if _, err := t.to.Write(data[:n]); err != nil {
			if !t.link.parted.Load() {
				t.link.cut()
			}
			return false
		}
		data, t.sent = data[n:], t.sent+int64(n)
		if limit > 0 && t.sent >= limit {
			t.link.cut()
			return false
		}
		if f.bandwidth > 0 {
			pause := time.Duration(n) * time.Second / time.Duration(f.bandwidth)
			if !t.link.sleep(pause) || !t.link.gate(t.dir) {
				return false
			}
		}
	}
	return true
}
