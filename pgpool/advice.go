package pgpool

import (
	"fmt"
	"net"
)

// poolTooLarge is where more connections begin to cost more than they give:
// commits a second were highest at 20 connections on two processors, and fell
// slowly from there. A server with many times that serves more.
const poolTooLarge = 100

// enoughSeen is how many statements a pool has run before it is called too
// large for them.
const enoughSeen = 10_000

// Advice returns hints about the settings, each with the variable to change, as
// far as the pool can tell from what it has seen: its callers, and the server's
// settings, clock and long-running statements, looked at by Start and once a
// minute. It is empty if there are none. It does no I/O; it is made for
// health.Advise. It repeats no secret.
func (p *Pool) Advice() []string {
	var out []string
	s := p.Stats()
	if s.Waiting > 0 && s.AcquiredConns >= s.MaxConns {
		out = append(out, fmt.Sprintf("DB_POOL_MAX: all %d connections are in use and %d callers wait: look for long transactions (DB_SLOW_QUERY logs them), then raise it", s.MaxConns, s.Waiting))
	} else if s.Exhausted > 0 {
		out = append(out, fmt.Sprintf("DB_POOL_MAX: %d callers got no connection in time since the start: look for long transactions, then raise it", s.Exhausted))
	}
	if s.MaxConns > poolTooLarge {
		out = append(out, fmt.Sprintf("DB_POOL_MAX: %d connections are more than one server makes good use of: lower it, or put PgBouncer in between", s.MaxConns))
	}
	if s.MaxConns > 2*DefaultMaxConns && s.QueryCount > enoughSeen && s.PeakConns*4 < s.MaxConns {
		out = append(out, fmt.Sprintf("DB_POOL_MAX: not more than %d of %d connections were in use at a time: lower it, others may need them", s.PeakConns, s.MaxConns))
	}
	if s.QueryCount > 1000 && s.SlowQueries > s.QueryCount/100 {
		out = append(out, fmt.Sprintf("DB_SLOW_QUERY: %d of %d statements were slower than %v: the log has them", s.SlowQueries, s.QueryCount, p.cfg.SlowQuery))
	}
	if s.CommitsUnknown > 0 {
		out = append(out, fmt.Sprintf("%d transactions lost their COMMIT and the server could not tell what became of it: use the option Ledger for those that matter", s.CommitsUnknown))
	}
	if found := p.surveyed.Load(); found != nil {
		out = append(out, found.advice(p.cfg, s.PoolMode)...)
	}
	for _, n := range append([]*node{p.primary}, p.replicas...) {
		host, _, err := net.SplitHostPort(n.addr)
		if err == nil && n.px.Config().ConnConfig.TLSConfig == nil && !isPrivate(host) {
			out = append(out, fmt.Sprintf("DATABASE_URL, DB_REPLICA_URLS: the connection to the %s is not encrypted: add sslmode=verify-full", n.name))
		}
	}
	return out
}
