package pgpool

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// A TxOption changes how Transaction works.
type TxOption func(*txOptions)

type txOptions struct {
	isolation  pgx.TxIsoLevel
	readOnly   bool
	deferrable bool
	attempts   int
	ledger     string
	claims     Claims
	claimsJSON string
	role       string

	begin string
	err   error
}

const plainBegin = "begin"

// beginReadOnly begins the transaction in which a query is repeated.
var beginReadOnly = stmt{sql: "begin read only"}

// Isolation sets the isolation level: pgx.ReadCommitted (the server's default),
// pgx.RepeatableRead or pgx.Serializable. With the last two, expect the
// function to be run again now and then.
func Isolation(level pgx.TxIsoLevel) TxOption { return func(o *txOptions) { o.isolation = level } }

// ReadOnly makes the server refuse writes. A read-only transaction costs less
// and may always be repeated.
func ReadOnly() TxOption { return func(o *txOptions) { o.readOnly = true } }

// Deferrable makes a serializable read-only transaction wait for a moment in
// which it cannot fail.
func Deferrable() TxOption { return func(o *txOptions) { o.deferrable = true } }

// MaxAttempts limits how often the function is run. 1 means never again; less
// means the default, 10.
func MaxAttempts(n int) TxOption { return func(o *txOptions) { o.attempts = n } }

// Ledger makes the outcome of a lost COMMIT always known: the transaction
// writes a row into the table, and if the reply is lost, that row is looked
// for, in a way that keeps the transaction from committing any later. It works
// through every pooler and failover. It costs one small insert, which travels
// with BEGIN. The table is made by CreateLedger; its old rows are removed by
// PruneLedger.
func Ledger(table string) TxOption {
	return func(o *txOptions) {
		if table == "" {
			o.err = errors.New("pgpool: transaction: Ledger needs the name of a table")
		}
		o.ledger = table
	}
}

// WithClaims runs the transaction as Supabase's API would for a user with these
// claims, so that row-level security applies: see Claims.
func WithClaims(c Claims) TxOption {
	return func(o *txOptions) {
		if c == nil {
			c = Claims{}
		}
		o.claims = c
		var err error
		if o.claimsJSON, o.role, err = c.encode(); err != nil {
			o.err = err
		}
	}
}

func applyTxOptions(opts []TxOption) txOptions {
	if len(opts) == 0 {
		return txOptions{begin: plainBegin, attempts: DefaultMaxAttempts}
	}
	return collectTxOptions(opts)
}

func collectTxOptions(opts []TxOption) txOptions {
	o := txOptions{begin: plainBegin}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.attempts < 1 {
		o.attempts = DefaultMaxAttempts
	}
	switch o.isolation {
	case "":
	case pgx.Serializable, pgx.RepeatableRead, pgx.ReadCommitted, pgx.ReadUncommitted:
		o.begin += " isolation level " + string(o.isolation)
	default:
		o.err = fmt.Errorf("pgpool: transaction: unknown isolation level %q", o.isolation)
	}
	if o.readOnly {
		o.begin += " read only"
	}
	if o.deferrable {
		o.begin += " deferrable"
	}
	return o
}
