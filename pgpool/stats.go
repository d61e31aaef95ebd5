package pgpool

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Stats is the state of a Pool at one time. Counters count since New; latencies
// are over the last one to two minutes, in fixed memory, and at most 12.5 % too
// high.
type Stats struct {
	NodeStats // the primary

	PoolMode PoolMode    // what was found to stand between us and PostgreSQL
	Replicas []NodeStats // in the order of Config.ReplicaURLs

	TxCommitted      int64 // transactions that stand
	TxRolledBack     int64 // ended by an error of their function
	TxRetried        int64 // attempts that were repeated
	CommitsResolved  int64 // COMMITs whose reply was lost and whose outcome was found out
	CommitsUnknown   int64 // those for which it could not be
	ReplicaFallbacks int64 // reads for a replica that went to the primary
}

// NodeStats is the state of the connections to one server.
type NodeStats struct {
	Name string // "primary", "replica 1" …
	Addr string // host and port

	MaxConns          int32
	TotalConns        int32
	IdleConns         int32
	AcquiredConns     int32
	ConstructingConns int32
	PeakConns         int32 // most that were seen in use at a time, by a look every 250 ms at the latest
	Waiting           int64 // callers that wait for a connection right now

	Opened       int64 // connections made
	DeadConns    int64 // connections found closed by the server, before they were used
	Exhausted    int64 // callers that got no connection in time
	QueryCount   int64 // statements, batches and copies that ended
	SlowQueries  int64
	Cancelled    int64 // statements cancelled at the server, for their context or a timeout
	ReadsRetried int64 // queries repeated on another connection

	P50, P95, P99                      time.Duration // of statements
	AcquireP50, AcquireP95, AcquireP99 time.Duration // until a connection was there

	Errors ErrorStats

	Healthy bool          // replicas: in use. The primary: its last connection attempt did not fail
	Lag     time.Duration // replicas: behind the primary
	Latency time.Duration // replicas: of the last health check
}

// ErrorStats counts errors of statements and connection attempts by kind.
type ErrorStats struct {
	Connection    int64 // lost or refused: class 08, 53, 57P, network
	Timeout       int64 // cancelled by a timeout or by the caller: 57014, 55P03
	Serialization int64 // to be run again: class 40
	Constraint    int64 // class 23
	Syntax        int64 // class 42: also missing tables and privileges
	ReadOnly      int64 // 25006: a write on a replica
	Other         int64
}

type errorCounters struct {
	connection, timeout, serialization, constraint, syntax, readOnly, other atomic.Int64
}

// count sorts an error by its SQLSTATE.
func (c *errorCounters) count(err error) {
	counter := &c.other
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch class := pgErr.Code[:min(2, len(pgErr.Code))]; {
		case pgErr.Code == "57014" || pgErr.Code == "55P03":
			counter = &c.timeout
		case pgErr.Code == "25006":
			counter = &c.readOnly
		case class == "08" || class == "53" || class == "57":
			counter = &c.connection
		case class == "40":
			counter = &c.serialization
		case class == "23":
			counter = &c.constraint
		case class == "42":
			counter = &c.syntax
		}
	} else if isContext(err) || pgconn.Timeout(err) {
		counter = &c.timeout
	} else {
		counter = &c.connection
	}
	counter.Add(1)
}

func (c *errorCounters) stats() ErrorStats {
	return ErrorStats{
		Connection: c.connection.Load(), Timeout: c.timeout.Load(), Serialization: c.serialization.Load(),
		Constraint: c.constraint.Load(), Syntax: c.syntax.Load(), ReadOnly: c.readOnly.Load(), Other: c.other.Load(),
	}
}

// failed notes the error of a statement.
func (n *node) failed(w *wire, conn *pgconn.PgConn, err error) {
	n.errs.count(err)
	if Code(err) == "25006" && n.primary && !w.readOnly && !byWish(conn) {
		// The server was demoted while the connection stayed open. All
		// connections lead there; the next ones look for the primary.
		w.doomed.Store(true)
		n.px.Reset()
	}
}

// byWish reports whether a transaction that is read-only must be so by its own
// wish, as the session is not (PostgreSQL 14 and later tell).
func byWish(conn *pgconn.PgConn) bool {
	return conn.ParameterStatus("in_hot_standby") == "off" && conn.ParameterStatus("default_transaction_read_only") == "off"
}

func (n *node) stats() NodeStats {
	st := n.px.Stat()
	q, a := n.latency.recent(), n.acquireWait.recent()
	return NodeStats{
		Name: n.name, Addr: n.addr,
		MaxConns: st.MaxConns(), TotalConns: st.TotalConns(), IdleConns: st.IdleConns(),
		AcquiredConns: st.AcquiredConns(), ConstructingConns: st.ConstructingConns(), PeakConns: n.peak.Load(),
		Waiting: n.waiting.size(), Opened: n.opened.Load(), DeadConns: n.peeked.Load(), Exhausted: n.exhausted.Load(),
		QueryCount: n.latency.count(), SlowQueries: n.slow.Load(), Cancelled: n.cancelled.Load(), ReadsRetried: n.retried.Load(),
		P50: q.Quantile(0.5), P95: q.Quantile(0.95), P99: q.Quantile(0.99),
		AcquireP50: a.Quantile(0.5), AcquireP95: a.Quantile(0.95), AcquireP99: a.Quantile(0.99),
		Errors:  n.errs.stats(),
		Healthy: n.lastConnectErr.Load() == nil,
	}
}

// Stats returns the numbers of the pool. It does no I/O.
func (p *Pool) Stats() Stats {
	s := Stats{
		NodeStats: p.primary.stats(), PoolMode: *p.primary.mode.Load(),
		TxCommitted: p.tx.committed.Load(), TxRolledBack: p.tx.rolledBack.Load(), TxRetried: p.tx.retried.Load(),
		CommitsResolved: p.tx.resolved.Load(), CommitsUnknown: p.tx.unknown.Load(), ReplicaFallbacks: p.fallbacks.Load(),
	}
	for _, r := range p.replicas {
		rs := r.stats()
		rs.Healthy = r.replica.healthy.Load()
		rs.Lag, rs.Latency = time.Duration(r.replica.lag.Load()), time.Duration(r.replica.latency.Load())
		s.Replicas = append(s.Replicas, rs)
	}
	return s
}
