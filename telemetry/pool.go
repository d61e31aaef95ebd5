package telemetry

import (
	"net"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"

	"github.com/pedro-go/pedro/pgpool"
)

// Pool is the option for [pgpool.New] that measures and traces statements, with
// otelpgx. A pgpool.WithTracer after it replaces it.
func (t *Telemetry) Pool() pgpool.Option { return pgpool.WithTracer(t.pgx) }

func (t *Telemetry) watchPool(name string, pool *pgpool.Pool) error {
	i := t.instruments()
	conns := t.connInstruments(i)
	tx := i.counter("pedro.db.transactions", "{transaction}", "Transactions that ended, by what became of them")
	retries := i.counter("pedro.db.transaction.retries", "{attempt}", "Attempts at transactions that were repeated")
	lost := i.counter("pedro.db.commits.lost", "{commit}", "COMMITs whose reply was lost, by whether the outcome was found out")
	fallbacks := i.counter("pedro.db.replica.fallbacks", "{read}", "Reads for a replica that went to the primary")
	failures := i.counter("pedro.db.errors", "{error}", "Errors of statements and connection attempts, by kind")
	slow := i.counter("pedro.db.slow", "{statement}", "Statements slower than DB_SLOW_QUERY")
	cancelled := i.counter("pedro.db.cancelled", "{statement}", "Statements cancelled at the server, for their context or a timeout")
	retried := i.counter("pedro.db.reads.retried", "{read}", "Queries repeated on another connection")
	opened := i.counter("pedro.db.connections.opened", "{connection}", "Connections made")
	dead := i.counter("pedro.db.connections.dead", "{connection}", "Connections found closed by the server before they were used")
	healthy := i.gauge("pedro.db.node.healthy", "1", "Whether a server is in use: 1 or 0")
	lag := i.level("pedro.db.replica.lag", "s", "How far a replica is behind the primary")

	cfg := pool.Config()
	return i.observed(func(o observer) {
		s := pool.Stats()
		all := poolName(name, s.Name)
		o.number(tx, s.TxCommitted, all, keyOutcome.String("committed"))
		o.number(tx, s.TxRolledBack, all, keyOutcome.String("rolled_back"))
		o.number(retries, s.TxRetried, all)
		o.number(lost, s.CommitsResolved, all, keyOutcome.String("resolved"))
		o.number(lost, s.CommitsUnknown, all, keyOutcome.String("unknown"))
		o.number(fallbacks, s.ReplicaFallbacks, all)
		for at, n := range append([]pgpool.NodeStats{s.NodeStats}, s.Replicas...) {
			node := poolName(name, n.Name)
			attrs := append(serverAttrs(n.Addr), semconv.DBSystemNamePostgreSQL, node)
			o.number(conns.count, int64(n.IdleConns), append(attrs, semconv.DBClientConnectionStateIdle)...)
			o.number(conns.count, int64(n.AcquiredConns), append(attrs, semconv.DBClientConnectionStateUsed)...)
			o.number(conns.limit, int64(n.MaxConns), attrs...)
			o.number(conns.idleMin, int64(max(cfg.MinConns, 0)), attrs...)
			o.number(conns.pending, n.Waiting, attrs...)
			o.number(conns.timeouts, n.Exhausted, attrs...)
			for kind, count := range map[string]int64{
				"connection": n.Errors.Connection, "timeout": n.Errors.Timeout, "serialization": n.Errors.Serialization,
				"constraint": n.Errors.Constraint, "syntax": n.Errors.Syntax, "read_only": n.Errors.ReadOnly, "other": n.Errors.Other,
			} {
				o.number(failures, count, node, keyKind.String(kind))
			}
			o.number(slow, n.SlowQueries, node)
			o.number(cancelled, n.Cancelled, node)
			o.number(retried, n.ReadsRetried, node)
			o.number(opened, n.Opened, node)
			o.number(dead, n.DeadConns, node)
			o.number(healthy, flag(n.Healthy), node)
			if at > 0 {
				o.value(lag, n.Lag.Seconds(), node)
			}
		}
	})
}

func poolName(prefix, name string) attribute.KeyValue {
	if prefix != "" {
		name = prefix + "/" + name
	}
	return semconv.DBClientConnectionPoolName(name)
}

func serverAttrs(addr string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil
	}
	n, _ := strconv.Atoi(port)
	return []attribute.KeyValue{semconv.ServerAddress(host), semconv.ServerPort(n)}
}
