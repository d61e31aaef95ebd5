package interop

import (
	"context"
	"database/sql"

	"github.com/pedro-go/pedro/pgpool"
)

// Book is code for database/sql, such as sqlx, bun, ent or one's own, on the
// pool's connections. It may be handed *pgpool.Pool.DB, and must not be handed
// stdlib.OpenDBFromPool(pool.Pgx()): see TestDatabaseSQL.
func Book(ctx context.Context, db *sql.DB, patient int64, reason string) error {
	_, err := db.ExecContext(ctx, "insert into visits (patient, reason) values ($1, $2)", patient, reason)
	return err
}

// OpenDB returns the database/sql face of a pool. Close it before the pool is
// stopped; that closes none of the pool's connections.
func OpenDB(pool *pgpool.Pool) *sql.DB { return pool.DB() }
