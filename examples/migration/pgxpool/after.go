package pgxpool

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

// TransferAfter is the same. It is run again after a serialization failure, a
// deadlock, and a connection lost before COMMIT; one lost during COMMIT is looked
// up.
func TransferAfter(ctx context.Context, pool *pgpool.Pool, from, to, amount int64) error {
	return pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "update accounts set balance = balance - $1 where id = $2", amount, from); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "update accounts set balance = balance + $1 where id = $2", amount, to)
		return err
	}, pgpool.Isolation(pgx.Serializable))
}

// AccountsAfter collects rows, and asks again if the connection dies before they
// came.
func AccountsAfter(ctx context.Context, pool *pgpool.Pool) ([]Account, error) {
	return pgpool.Select[Account](ctx, pool, "select id, owner, balance from accounts order by id")
}

// ImportAfter copies accounts into the table, and updates those that are there.
func ImportAfter(ctx context.Context, pool *pgpool.Pool, accounts []Account) (int64, error) {
	return pgpool.BatchInsert(ctx, pool, "accounts", accounts, pgpool.OnConflictUpdate("id"))
}
