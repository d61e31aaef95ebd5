package telemetry

import "go.opentelemetry.io/otel/metric"

// connInstruments are those of the conventions for connection pools, which
// PostgreSQL's and Redis' share.
type connInstruments struct{ count, limit, idleMin, pending, timeouts metric.Int64Observable }

func (*Telemetry) connInstruments(i *instruments) connInstruments {
	return connInstruments{
		count:    i.gauge("db.client.connection.count", "{connection}", "The number of connections that are currently in state described by the state attribute"),
		limit:    i.gauge("db.client.connection.max", "{connection}", "The maximum number of open connections allowed"),
		idleMin:  i.gauge("db.client.connection.idle.min", "{connection}", "The minimum number of idle open connections allowed"),
		pending:  i.gauge("db.client.connection.pending_requests", "{request}", "The number of current pending requests for an open connection"),
		timeouts: i.counter("db.client.connection.timeouts", "{timeout}", "The number of connection timeouts that have occurred trying to obtain a connection from the pool"),
	}
}
