// Package pgxpool is a transfer between two accounts, on raw pgxpool and on
// pgpool.
package pgxpool

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Account is a row.
type Account struct {
	ID      int64
	Owner   string
	Balance int64
}

// TransferBefore is the usual transaction on pgxpool.
func TransferBefore(ctx context.Context, pool *pgxpool.Pool, from, to, amount int64) error {
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, "update accounts set balance = balance - $1 where id = $2", amount, from); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "update accounts set balance = balance + $1 where id = $2", amount, to); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// AccountsBefore collects rows.
func AccountsBefore(ctx context.Context, pool *pgxpool.Pool) ([]Account, error) {
	rows, err := pool.Query(ctx, "select id, owner, balance from accounts order by id")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Account])
}

// ImportBefore copies accounts into the table.
func ImportBefore(ctx context.Context, pool *pgxpool.Pool, accounts []Account) (int64, error) {
	return pool.CopyFrom(ctx, pgx.Identifier{"accounts"}, []string{"id", "owner", "balance"},
		pgx.CopyFromSlice(len(accounts), func(i int) ([]any, error) {
			return []any{accounts[i].ID, accounts[i].Owner, accounts[i].Balance}, nil
		}))
}
