// Package schema brings the clinic's database up to date.
//
// It is as small as migrations can be. A service with more than a few of them
// uses goose or golang-migrate, on the same pool.
package schema

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

//go:embed *.sql
var files embed.FS

// lock is the number of the advisory lock that keeps two instances from
// migrating at once. It only has to be the clinic's own.
const lock = 7_163_001

// Migrate runs the migrations that have not run yet, in the order of their
// names, all in one transaction. Instances that start together take turns.
func Migrate(ctx context.Context, pool *pgpool.Pool) error {
	names, err := fs.Glob(files, "*.sql") // sorted
	if err != nil {
		return err
	}
	return pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", lock); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "create table if not exists migrations (name text primary key, at timestamptz not null default now())"); err != nil {
			return err
		}
		for _, name := range names {
			if err := apply(ctx, tx, name); err != nil {
				return fmt.Errorf("migration %s: %w", name, err)
			}
		}
		return nil
	})
}

func apply(ctx context.Context, tx pgx.Tx, name string) error {
	tag, err := tx.Exec(ctx, "insert into migrations (name) values ($1) on conflict do nothing", name)
	if err != nil || tag.RowsAffected() == 0 { // failed, or done before
		return err
	}
	sql, err := files.ReadFile(name)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, string(sql))
	return err
}
