package pgpool_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/pgpool"
)

func Example() {
	ctx := context.Background()
	server, err := devservices.StartPostgres(ctx) // in production: pgpool.ConfigFromEnv
	if err != nil {
		log.Fatal(err)
	}
	pool, err := pgpool.New(pgpool.Config{URL: server.URL()})
	if err != nil {
		log.Fatal(err)
	}
	if err := pool.Start(ctx); err != nil {
		log.Fatal(err)
	}

	type Patient struct {
		ID   int64
		Name string `db:"full_name"`
	}
	if _, err := pool.Exec(ctx, "create table patients (id bigint primary key, full_name text not null)"); err != nil {
		log.Fatal(err)
	}
	n, err := pgpool.BatchInsert(ctx, pool, "patients", []Patient{{1, "Ada"}, {2, "Bob"}})
	fmt.Println(n, err)

	all, err := pgpool.Select[Patient](ctx, pool, "select * from patients order by id")
	fmt.Println(all, err)

	_, err = pgpool.Get[Patient](ctx, pool, "select * from patients where id = $1", 3)
	fmt.Println(errors.Is(err, pgpool.ErrNotFound))

	name, err := pgpool.Transaction(ctx, pool, func(ctx context.Context, tx pgx.Tx) (string, error) {
		pgpool.AfterCommit(ctx, func(context.Context) { fmt.Println("committed") })
		return pgpool.Get[string](ctx, tx, "update patients set full_name = $1 where id = 1 returning full_name", "Ada L.")
	})
	fmt.Println(name, err)

	fmt.Println(pool.Stop(ctx), server.Close())
	// Output:
	// 2 <nil>
	// [{1 Ada} {2 Bob}] <nil>
	// true
	// committed
	// Ada L. <nil>
	// <nil> <nil>
}

// What a transaction's function returns as an error rolls it back. The error
// comes out as it went in.
func ExampleTransaction_rollback() {
	ctx := context.Background()
	server, err := devservices.StartPostgres(ctx)
	if err != nil {
		log.Fatal(err)
	}
	pool, err := pgpool.New(pgpool.Config{URL: server.URL()})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := pool.Exec(ctx, "create table slots (id int primary key, patient text)"); err != nil {
		log.Fatal(err)
	}

	errFull := errors.New("no slot is free")
	err = pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into slots values (1, 'Ada')"); err != nil {
			return err
		}
		return errFull
	})
	fmt.Println(errors.Is(err, errFull))
	n, err := pgpool.Get[int](ctx, pool, "select count(*)::int from slots")
	fmt.Println(n, err)
	fmt.Println(pool.Stop(ctx), server.Close())
	// Output:
	// true
	// 0 <nil>
	// <nil> <nil>
}
