package pgpool

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

var errNoTable = errors.New("the name of the table is empty")

// CreateLedger makes a table for the option Ledger, if it does not exist. The
// name may have a schema: "infra.ledger".
func CreateLedger(ctx context.Context, q Querier, table string) error {
	if table == "" {
		return fmt.Errorf("pgpool: create ledger: %w", errNoTable)
	}
	_, err := q.Exec(ctx, "create table if not exists "+quoteTable(table)+
		" (id uuid primary key, fenced boolean not null default false, at timestamptz not null default now())")
	if err != nil {
		return fmt.Errorf("pgpool: create ledger: %w", err)
	}
	return nil
}

// PruneLedger removes the rows of a ledger that are older than olderThan, and
// returns how many they were. An hour is plenty: a row is needed only while the
// outcome of its transaction is being looked for, which takes 30 s at most.
func PruneLedger(ctx context.Context, q Querier, table string, olderThan time.Duration) (int64, error) {
	if table == "" {
		return 0, fmt.Errorf("pgpool: prune ledger: %w", errNoTable)
	}
	tag, err := q.Exec(ctx, "delete from "+quoteTable(table)+" where at < now() - make_interval(secs => $1)", olderThan.Seconds())
	if err != nil {
		return 0, fmt.Errorf("pgpool: prune ledger: %w", err)
	}
	return tag.RowsAffected(), nil
}

func ledgerInsert(table string, epoch bool) string {
	sql := "insert into " + quoteTable(table) + " (id) values ($1::uuid) returning pg_current_xact_id()::text"
	if epoch {
		sql += ", " + epochSQL
	}
	return sql
}

// fence settles the fate of a transaction: it inserts the row that the
// transaction would have, which waits for it if it is still going on, and
// reads whose row is there. If it is ours, the transaction cannot commit any
// more. The fence may be repeated.
func (o outcome) fence(ctx context.Context, conn *pgx.Conn) (committed bool, err error) {
	table := quoteTable(o.ledger)
	results, err := conn.PgConn().Exec(ctx, "insert into "+table+" (id, fenced) values ('"+o.id+"', true) on conflict do nothing; "+
		"select fenced::text from "+table+" where id = '"+o.id+"'").ReadAll()
	if err != nil {
		return false, err
	}
	if len(results) != 2 || len(results[1].Rows) != 1 {
		return false, errInProgress
	}
	return string(results[1].Rows[0][0]) == "false", nil
}

// newLedgerID returns a random UUID.
func newLedgerID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// quoteTable quotes a table name that may have a schema.
func quoteTable(name string) string { return tableOf(name).Sanitize() }

// tableOf splits a table name at its dot. A name that has dots of its own can
// be given in double quotes, and a double quote in those as two.
func tableOf(name string) pgx.Identifier {
	var parts pgx.Identifier
	for name != "" {
		if part, after, ok := cutQuoted(name); ok {
			parts = append(parts, part)
			name = strings.TrimPrefix(after, ".")
			continue
		}
		part, after, _ := strings.Cut(name, ".")
		parts = append(parts, part)
		name = after
	}
	return parts
}

// cutQuoted cuts off a part in double quotes.
func cutQuoted(name string) (part, after string, ok bool) {
	rest, ok := strings.CutPrefix(name, `"`)
	for ok {
		var piece string
		if piece, rest, ok = strings.Cut(rest, `"`); !ok {
			break
		}
		part += piece
		if !strings.HasPrefix(rest, `"`) {
			return part, rest, true
		}
		part, rest = part+`"`, rest[1:]
	}
	return "", "", false
}
