package pgpool

import (
	"context"
	"time"
)

// A RunningQuery is a statement that a server is executing.
type RunningQuery struct {
	PID       uint32
	Database  string
	User      string
	AppName   string
	State     string // active, idle in transaction …
	SQL       string // as the server sees it: placeholders, no values, unless they were written into it
	Duration  time.Duration
	WaitEvent string // what it waits for, such as Lock/transactionid; "" if it computes
	BlockedBy []uint32
}

// LongRunning lists the statements of the primary, of all its clients, that
// have been running for longer than olderThan, longest first, and transactions
// that have been idle for so long. Other users' statements are visible only to
// a member of pg_read_all_stats.
func (p *Pool) LongRunning(ctx context.Context, olderThan time.Duration) ([]RunningQuery, error) {
	type row struct {
		PID       uint32
		Database  string
		Usename   string
		AppName   string
		State     string
		SQL       string
		Seconds   float64
		WaitEvent string
		BlockedBy []uint32
	}
	const sql = `select pid, coalesce(datname, '') as database, coalesce(usename, '')::text as usename, application_name as app_name,
		state, query as sql, extract(epoch from clock_timestamp() - coalesce(query_start, xact_start))::float8 as seconds,
		coalesce(wait_event_type || '/' || wait_event, '') as wait_event, pg_blocking_pids(pid) as blocked_by
		from pg_stat_activity
		where pid <> pg_backend_pid() and backend_type = 'client backend' and state <> 'idle'
		and clock_timestamp() - coalesce(query_start, xact_start) > make_interval(secs => $1)
		order by seconds desc`
	rows, err := Select[row](Outside(ctx), p, sql, olderThan.Seconds())
	if err != nil {
		return nil, err
	}
	list := make([]RunningQuery, len(rows))
	for i := range rows {
		r := &rows[i]
		list[i] = RunningQuery{
			PID: r.PID, Database: r.Database, User: r.Usename, AppName: r.AppName, State: r.State, SQL: r.SQL,
			Duration: time.Duration(r.Seconds * float64(time.Second)), WaitEvent: r.WaitEvent, BlockedBy: r.BlockedBy,
		}
	}
	return list, nil
}
