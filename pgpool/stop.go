package pgpool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// closeGrace is how long connections that nobody uses may take to close. A
// server that answers needs a few milliseconds; pgx waits 15 seconds for one
// that does not.
const closeGrace = time.Second

// Stop closes the pool. New work is refused with ErrClosed at once; work that
// holds a connection may finish until ctx is done. What is still running then
// is cut off: Stop closes those connections and returns an error that names
// their holders. Connections that nobody holds get a second to close, which is
// more than a server that is alive needs. It can be called without Start, and
// again: later calls wait like the first.
func (p *Pool) Stop(ctx context.Context) error {
	p.life.Lock()
	if p.stopped == nil {
		p.stopped = make(chan struct{})
		if p.quit != nil {
			p.quit()
		}
		go p.close()
	}
	stopped := p.stopped
	p.life.Unlock()

	looks := time.NewTicker(closeGrace / 20)
	defer looks.Stop()
	var released time.Time // since when nobody holds a connection
	for {
		select {
		case <-stopped:
			return nil
		case <-ctx.Done():
			held := p.held()
			p.cutOff()
			if len(held) == 0 {
				return nil
			}
			return fmt.Errorf("pgpool: stop: %w; still in use: %w", context.Cause(ctx), errors.Join(held...))
		case now := <-looks.C:
			switch {
			case len(p.held()) > 0:
				released = time.Time{}
			case released.IsZero():
				released = now
			case now.Sub(released) > closeGrace:
				p.cutOff()
				return nil
			}
		}
	}
}

// close closes all connections as they become free.
func (p *Pool) close() {
	defer close(p.stopped)
	var wg sync.WaitGroup
	for _, n := range p.nodes() {
		wg.Go(n.px.Close) // refuses new work at once
	}
	p.tasks.Wait()
	wg.Wait()
	p.dog.stop()
}

// held names who holds a connection.
func (p *Pool) held() []error {
	var held []error
	for _, n := range p.nodes() {
		for _, h := range n.holders() {
			held = append(held, fmt.Errorf("%s: %v", n.name, h))
		}
	}
	return held
}

// cutOff closes the sockets of all connections, which ends what runs on them.
func (p *Pool) cutOff() {
	for _, n := range p.nodes() {
		n.conns.Lock()
		var list []*wire
		for w := range n.conns.set {
			list = append(list, w)
		}
		n.conns.Unlock()
		for _, w := range list {
			_ = w.Conn.Close()
		}
	}
}
