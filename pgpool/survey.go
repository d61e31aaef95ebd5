package pgpool

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

const (
	surveyEvery = time.Minute
	longRunning = time.Minute     // without a StatementTimeout
	clockSkew   = 2 * time.Second // what NTP keeps is far less
	mostOfAll   = 80              // percent of the server's connections
	surveyLimit = 2 * time.Second // for one survey
)

// A survey is what the primary tells about itself, for Advice. It is made at
// Start and once a minute.
type survey struct {
	maxConns         int           // what the server lets ordinary roles have
	statementTimeout time.Duration // in effect on a connection of the pool
	timeoutGiven     bool          // in the connection string, which goes before the Config
	skew             time.Duration // the server's clock ahead of ours; 0 while it may be the network
	longest          time.Duration // of the statements that run longer than they should; 0 if none does
	longestPID       string
}

// surveySQL counts statements of all clients that this role may see. It reads
// their ages only: a statement's text may hold a secret.
const surveySQL = `select
current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
(select setting from pg_settings where name = 'statement_timeout'),
extract(epoch from clock_timestamp()),
coalesce(extract(epoch from clock_timestamp() - s.query_start), 0), coalesce(s.pid, 0)
from (select) as one left join lateral (
select pid, query_start from pg_stat_activity
where state = 'active' and backend_type = 'client backend' and pid <> pg_backend_pid() and query_start < clock_timestamp() - interval '%d ms'
order by query_start limit 1) as s on true`

// survey looks at the primary once, unless the pool is busy: callers come
// first.
func (p *Pool) survey(ctx context.Context) {
	n := p.primary
	if st := n.px.Stat(); st.AcquiredConns() >= st.MaxConns() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, surveyLimit)
	defer cancel()
	conn, err := n.acquire(ctx)
	if err != nil {
		return
	}
	defer conn.Release()
	began := time.Now()
	values, err := askOne(ctx, conn.Conn(), fmt.Sprintf(surveySQL, p.longRunningAfter().Milliseconds()))
	if err != nil {
		return
	}
	var s survey
	s.maxConns, _ = strconv.Atoi(values[0])
	ms, _ := strconv.Atoi(values[1])
	s.statementTimeout = time.Duration(ms) * time.Millisecond
	_, s.timeoutGiven = n.px.Config().ConnConfig.RuntimeParams["statement_timeout"]
	s.skew = skew(seconds(values[2]), began, time.Now())
	s.longest, s.longestPID = seconds(values[3]), values[4]
	p.surveyed.Store(&s)
}

func seconds(s string) time.Duration {
	f, _ := strconv.ParseFloat(s, 64)
	return time.Duration(f * float64(time.Second))
}

// skew returns how far a clock is ahead that said then, since 1970, between two
// times of ours. What the round trip may explain does not count.
func skew(then time.Duration, asked, answered time.Time) time.Duration {
	switch t := time.Unix(0, int64(then)); {
	case t.Before(asked):
		return t.Sub(asked)
	case t.After(answered):
		return t.Sub(answered)
	default:
		return 0
	}
}

// longRunningAfter is when a statement of anybody counts as long-running.
func (p *Pool) longRunningAfter() time.Duration {
	if p.cfg.StatementTimeout > 0 {
		return p.cfg.StatementTimeout
	}
	return longRunning
}

// startSurveys goes on looking until ctx is done.
func (p *Pool) startSurveys(ctx context.Context) {
	p.tasks.Go(func() {
		tick := time.NewTicker(surveyEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.survey(ctx)
			}
		}
	})
}

// advice says what the survey means for a pool with these settings.
func (s *survey) advice(cfg Config, mode PoolMode) []string {
	var out []string
	direct := mode == PoolModeDirect || mode == PoolModeSession
	if direct && int(cfg.MaxConns)*100 > s.maxConns*mostOfAll {
		out = append(out, fmt.Sprintf("DB_POOL_MAX: %d of the %d connections that the server has: little is left for other instances; lower it, raise max_connections, or put PgBouncer in between",
			cfg.MaxConns, s.maxConns))
	}
	if want := cfg.StatementTimeout; direct && want > 0 && !s.timeoutGiven && want != s.statementTimeout {
		out = append(out, fmt.Sprintf("DB_STATEMENT_TIMEOUT: it is %v, but %v is in effect: what stands in between drops it; set it by alter role … set statement_timeout, or set DB_POOL_MODE to what it is",
			want, s.statementTimeout))
	}
	if s.longest > 0 {
		out = append(out, fmt.Sprintf("DB_STATEMENT_TIMEOUT: process %s of the server has been running a statement for %v: LongRunning lists them, pg_cancel_backend ends one",
			s.longestPID, s.longest.Round(time.Millisecond)))
	}
	if s.skew.Abs() > clockSkew {
		side := "ahead of"
		if s.skew < 0 {
			side = "behind"
		}
		out = append(out, fmt.Sprintf("the clock of the database is %v %s this machine's: set both by NTP, or times in tables and sessions contradict each other", s.skew.Abs().Round(time.Second), side))
	}
	return out
}
