package interop

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the schema up to date with goose. Several instances may do so
// at once: an advisory lock lets one of them work and the others find it done.
//
// An advisory lock belongs to a connection, so that this does not work through
// a pooler in transaction mode: give migrations the direct address.
func Migrate(ctx context.Context, pool *pgpool.Pool) (applied int, err error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return 0, err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 30)) // tries each second, for half a minute
	if err != nil {
		return 0, err
	}
	db := pool.DB() // the pool's own connections
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, dir, goose.WithSessionLocker(locker))
	if err != nil {
		return 0, err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return len(results), fmt.Errorf("migrate: %w", err)
	}
	return len(results), nil
}

// Migrations is Migrate as a component: add it after the pool and before what
// needs the tables.
func Migrations(pool *pgpool.Pool) lifecycle.Component {
	return lifecycle.Funcs{OnStart: func(ctx context.Context) error {
		_, err := Migrate(ctx, pool)
		return err
	}}
}
