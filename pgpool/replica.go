package pgpool

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// replicaCheck is how often replicas are looked at.
const replicaCheck = time.Second

// A replicaState is what the last health check of a replica told.
type replicaState struct {
	healthy  atomic.Bool
	lsn      atomic.Uint64 // replayed
	lag      atomic.Int64  // nanoseconds
	latency  atomic.Int64  // nanoseconds, smoothed
	inFlight atomic.Int64
}

// Replica returns a Querier for reads. Each call goes to the replica that
// promises the quickest answer, by latency and load, among those that answer,
// are not further behind than Config.ReplicaMaxLag, and have seen the writes
// that the context remembers (see Token). If there is none, or it fails, the
// primary answers, unless what was sent may have run. In a transaction's context the transaction does. Replicas
// are looked at once a second, from Start on.
func (p *Pool) Replica() Querier { return replicas{p} }

type replicas struct{ pool *Pool }

var _ Querier = replicas{}

// Exec implements Querier.
func (r replicas) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	n, done := r.choose(ctx)
	if n == nil {
		return r.pool.Exec(ctx, sql, args...)
	}
	tag, err := func() (pgconn.CommandTag, error) {
		defer done()
		return n.exec(ctx, sql, args)
	}()
	if n.gaveUp(ctx, err) {
		return r.pool.Exec(ctx, sql, args...)
	}
	return tag, err
}

// Query implements Querier.
func (r replicas) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	n, done := r.choose(ctx)
	if n == nil {
		return r.pool.Query(ctx, sql, args...)
	}
	rows, err := func() (*poolRows, error) {
		defer done()
		return n.query(ctx, sql, args)
	}()
	if n.gaveUp(ctx, err) {
		return r.pool.Query(ctx, sql, args...)
	}
	return rows, err
}

// QueryRow implements Querier.
func (r replicas) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, _ := r.Query(ctx, sql, args...) // by Scan, as pgx.Row demands
	return poolRow{rows}
}

// SendBatch implements Querier. A batch is not repeated on the primary.
func (r replicas) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	n, done := r.choose(ctx)
	if n == nil {
		return r.pool.SendBatch(ctx, b)
	}
	defer done()
	return n.sendBatch(ctx, b)
}

// CopyFrom implements Querier. It writes, so it goes to the primary.
func (r replicas) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	return r.pool.CopyFrom(ctx, table, columns, rows)
}

func (r replicas) read(ctx context.Context, sql string, args []any, into result) error {
	n, done := r.choose(ctx)
	if n == nil {
		return r.pool.read(ctx, sql, args, into)
	}
	err := func() error {
		defer done() // to take the rows may panic
		return n.read(ctx, sql, args, into)
	}()
	if n.gaveUp(ctx, err) {
		return r.pool.read(ctx, sql, args, into)
	}
	return err
}

// gaveUp reports whether a replica failed in a way that the primary may not:
// it is away, its pool is exhausted, or it had to cancel the query to go on
// replaying.
func (n *node) gaveUp(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	switch {
	case errors.Is(err, ErrUnavailable):
		n.replica.healthy.Store(false)
	case errors.Is(err, ErrPoolExhausted), isConflict(err):
	default:
		return false
	}
	n.pool.fallbacks.Add(1)
	return true
}

// choose returns the replica for a read, nil for the primary.
func (r replicas) choose(ctx context.Context) (n *node, done func()) {
	p := r.pool
	if len(p.replicas) == 0 || txFrom(ctx, p) != nil {
		return nil, nil
	}
	lsn, pinned := holderFrom(ctx).wants()
	if !pinned {
		n = p.best(lsn)
		if n == nil && lsn != 0 && p.cfg.ReplicaWait > 0 {
			if candidate := p.best(0); candidate != nil && candidate.awaits(ctx, lsn) {
				n = candidate
			}
		}
	}
	if n == nil {
		p.fallbacks.Add(1)
		return nil, nil
	}
	n.replica.inFlight.Add(1)
	return n, func() { n.replica.inFlight.Add(-1) }
}

// best returns the healthy replica with the lowest latency for its load that
// has replayed lsn.
func (p *Pool) best(lsn uint64) *node {
	var best *node
	least := math.Inf(1)
	for _, n := range p.replicas {
		s := &n.replica
		if !s.healthy.Load() || s.lsn.Load() < lsn || p.cfg.ReplicaMaxLag > 0 && time.Duration(s.lag.Load()) > p.cfg.ReplicaMaxLag {
			continue
		}
		// Latencies of an idle network differ by chance: what is within 1 ms
		// is shared by load.
		cost := (float64(s.latency.Load()) + float64(time.Millisecond)) * float64(1+s.inFlight.Load())
		if cost < least {
			best, least = n, cost
		}
	}
	return best
}

// awaits waits up to ReplicaWait for a replica to replay lsn.
func (n *node) awaits(ctx context.Context, lsn uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, n.pool.cfg.ReplicaWait)
	defer cancel()
	for {
		if _, err := n.ask(ctx); err != nil {
			return false
		}
		if n.replica.lsn.Load() >= lsn {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// A replica that has replayed everything it has received is not behind, even
// if nothing happened for hours.
const replicaSQL = `select pg_is_in_recovery()::text,
case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end::text,
coalesce(case when pg_is_in_recovery() then extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) end, 0)::text`

// ask looks at a server: how far it has replayed, and how old that is.
func (n *node) ask(ctx context.Context) (age time.Duration, err error) {
	conn, err := n.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	values, err := askOne(ctx, conn.Conn(), replicaSQL)
	if err != nil {
		return 0, err
	}
	n.replica.lsn.Store(parseLSN(values[1]))
	seconds, _ := strconv.ParseFloat(values[2], 64)
	return time.Duration(seconds * float64(time.Second)), nil
}

// startReplicas watches the replicas until ctx is done.
func (p *Pool) startReplicas(ctx context.Context) {
	if len(p.replicas) == 0 {
		return
	}
	for _, n := range p.replicas {
		p.tasks.Go(func() {
			tick := time.NewTicker(replicaCheck)
			defer tick.Stop()
			for {
				n.checkReplica(ctx)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
}

func (n *node) checkReplica(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	// The primary first: a replica that has its position now is not behind.
	_, primaryErr := n.pool.primary.ask(ctx)
	start := clock()
	age, err := n.ask(ctx)
	s := &n.replica
	if err == nil {
		took := clock() - start
		if old := s.latency.Load(); old != 0 {
			took = old + (took-old)/4
		}
		s.latency.Store(took)
		switch {
		case s.lsn.Load() >= n.pool.primary.replica.lsn.Load():
			age = 0
		case primaryErr != nil:
			age = 0 // without a primary there is nothing to be behind
		}
		s.lag.Store(int64(age))
	}
	if was := s.healthy.Swap(err == nil); was != (err == nil) && ctx.Err() == nil {
		if err == nil {
			n.pool.opts.logger.InfoContext(ctx, "replica in use", "node", n.name, "addr", n.addr, "lag", age)
		} else {
			n.pool.opts.logger.WarnContext(ctx, "replica out of use", "node", n.name, "addr", n.addr, "error", err)
		}
	}
}
