package pgpool

import (
	"fmt"
	"reflect"
	"time"
)

// A SlowQuery is a statement that took longer than Config.SlowQuery.
type SlowQuery struct {
	SQL      string
	Args     []string // type and size of each argument, never its value
	Took     time.Duration
	PID      uint32 // the server process
	Running  bool   // it has not ended yet
	Reported bool   // it was reported before, while it ran
	Err      error  `json:"-"` // how it ended, if not well; a *pgconn.PgError as JSON would show values of rows
}

// slowQuery reports a statement to the log and the host.
func (n *node) slowQuery(q SlowQuery) {
	if !q.Running {
		n.slow.Add(1)
	}
	msg := "slow query"
	if q.Running {
		msg = "slow query still running"
	}
	attrs := []any{"node", n.name, "sql", shorten(q.SQL, 500), "args", q.Args, "took", q.Took, "pid", q.PID}
	if q.Err != nil {
		attrs = append(attrs, "code", Code(q.Err))
	}
	n.pool.opts.logger.Warn(msg, attrs...) //nolint:sloglint // one of two constants
	f := n.pool.opts.onSlowQuery
	switch {
	case f == nil:
	case !q.Running:
		f(q)
	default: // on the watchdog's goroutine
		err := shielded("the function of WithSlowQuery", func() error { f(q); return nil })
		if err != nil {
			n.pool.opts.logger.Error("hook failed", "node", n.name, "error", err)
		}
	}
}

// describeArgs tells what kind of arguments a statement had. Values may be
// personal data or secrets and are never shown.
func describeArgs(args []any) []string {
	if len(args) == 0 {
		return nil
	}
	list := make([]string, len(args))
	for i, arg := range args {
		v := reflect.ValueOf(arg)
		switch {
		case !v.IsValid():
			list[i] = "nil"
		case v.Kind() == reflect.String || v.Kind() == reflect.Slice || v.Kind() == reflect.Map:
			list[i] = fmt.Sprintf("%T(%d)", arg, v.Len())
		default:
			list[i] = fmt.Sprintf("%T", arg)
		}
	}
	return list
}
