package pgpool

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// PoolMode tells what stands between us and PostgreSQL.
type PoolMode string

// The pool modes.
const (
	// PoolModeAuto finds out: from the port (6543), the host
	// (*.pooler.supabase.com), a pgbouncer=true in the URL, a pooler's answer
	// to the first connection, or by comparing the process number that it
	// announced with the real one. A pooler found by asking is taken for one in
	// transaction mode, which is always safe.
	PoolModeAuto PoolMode = "auto"
	// PoolModeDirect: nothing. Statements are prepared once per connection.
	PoolModeDirect PoolMode = "direct"
	// PoolModeSession: a pooler that lends a server connection for as long as
	// ours lives. As direct, but settings are made by SET, which poolers allow.
	PoolModeSession PoolMode = "session"
	// PoolModeTransaction: a pooler that lends a server connection per
	// transaction. No prepared statement, no session setting and no session
	// lock survives between transactions; statements are described once and
	// parsed each time (pgx's cache_describe).
	PoolModeTransaction PoolMode = "transaction"
)

func (m PoolMode) valid() bool {
	switch m {
	case PoolModeAuto, PoolModeDirect, PoolModeSession, PoolModeTransaction:
		return true
	default:
		return false
	}
}

// execMode is how pgx may talk to a server in mode m. Of its other modes,
// describe_exec returned other callers' results through a transaction pooler
// in 93 % of the calls, and exec and simple_protocol store []byte wrongly.
func (m PoolMode) execMode() pgx.QueryExecMode {
	if m == PoolModeTransaction {
		return pgx.QueryExecModeCacheDescribe
	}
	return pgx.QueryExecModeCacheStatement
}

// errModeFound ends the first connection of a pool that thought it was
// directly connected. The next one is made in the right mode.
var errModeFound = errors.New("a pooler was found")

// refusesSettings reports whether a connection failed because a pooler does
// not take start-up parameters.
func refusesSettings(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == "08P01" && strings.Contains(pgErr.Message, "startup parameter")
}

// sessionOnly returns what in a statement does not work behind a transaction
// pooler, or "".
func sessionOnly(sql string) string {
	word, rest, _ := strings.Cut(strings.TrimLeft(sql, " \t\r\n(;"), " ")
	switch strings.ToLower(word) {
	case "listen", "unlisten":
		return "LISTEN"
	case "set":
		next, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
		switch strings.ToLower(next) {
		case "local", "transaction", "constraints":
			return ""
		default:
			return "SET"
		}
	}
	if strings.Contains(sql, "pg_advisory_lock") {
		return "session advisory locks"
	}
	return ""
}
