package pgpool

import (
	"context"
	"slices"
)

// Silent returns which of the server processes pids have connections in the
// pool on which nothing has arrived.
func (p *Pool) Silent(pids []uint32) []uint32 {
	p.primary.conns.Lock()
	defer p.primary.conns.Unlock()
	var silent []uint32
	for w, conn := range p.primary.conns.set {
		var look peeker // a wire's own is for who uses the connection
		look.init(w.Conn)
		if slices.Contains(pids, conn.PID()) && look.peek() == alive {
			silent = append(silent, conn.PID())
		}
	}
	return silent
}

// AskOutcome asks the primary once what became of a transaction.
func (p *Pool) AskOutcome(ctx context.Context, xid string) (committed bool, err error) {
	return outcome{xid: xid, epoch: "of another life"}.ask(ctx, p.primary, 0)
}

// FindOutcome finds what became of a transaction.
func (p *Pool) FindOutcome(ctx context.Context, xid, epoch, ledger, id string) (committed bool, err error) {
	return outcome{xid: xid, epoch: epoch, ledger: ledger, id: id}.find(ctx, p.primary)
}

// NewLedgerID names a transaction in a ledger.
func NewLedgerID() string { return newLedgerID() }

// ReplicaReads returns how many reads the replicas are busy with.
func (p *Pool) ReplicaReads() (n int64) {
	for _, r := range p.replicas {
		n += r.replica.inFlight.Load()
	}
	return n
}
