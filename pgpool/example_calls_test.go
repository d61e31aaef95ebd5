package pgpool_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/pgpool"
)

// clinicPool is a pool on a server of its own, with a table of patients; yours
// is made by ConfigFromEnv and New.
func clinicPool() (pool *pgpool.Pool, stop func()) {
	ctx := context.Background()
	server, err := devservices.StartPostgres(ctx)
	if err != nil {
		log.Fatal(err)
	}
	pool, err = pgpool.New(pgpool.Config{URL: server.URL()})
	if err != nil {
		log.Fatal(err)
	}
	_, err = pool.Exec(ctx, `create table patients (
		id bigint generated always as identity primary key, email text not null unique, name text not null, visits int not null default 0)`)
	if err != nil {
		log.Fatal(err)
	}
	return pool, func() {
		_ = pool.Stop(ctx)
		_ = server.Close()
	}
}

type newPatient struct {
	Email string
	Name  string
}

// New reports everything that is wrong, by the names of the variables.
func ExampleNew() {
	_, err := pgpool.New(pgpool.Config{URL: "postgres://localhost/clinic", MaxConns: -1, IdleTimeout: -1})
	fmt.Println(err)
	fmt.Println(errors.Is(err, pgpool.ErrInvalidConfig))
	// Output:
	// pgpool: invalid config:
	// 	DB_POOL_MAX: must be 1 or more; the default is 20
	// 	DB_IDLE_TIMEOUT: must be positive; the default is 30s
	// true
}

// Rows that are there already are updated, the others inserted.
func ExampleBatchInsert() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	n, err := pgpool.BatchInsert(ctx, pool, "patients", []newPatient{{"ana@example.org", "Ana"}, {"ben@example.org", "Ben"}})
	fmt.Println(n, err)
	n, err = pgpool.BatchInsert(ctx, pool, "patients", []newPatient{{"ana@example.org", "Anna"}, {"cleo@example.org", "Cleo"}},
		pgpool.OnConflictUpdate("email"))
	fmt.Println(n, err)
	names, err := pgpool.Select[string](ctx, pool, "select name from patients order by name")
	fmt.Println(names, err)
	// Output:
	// 2 <nil>
	// 2 <nil>
	// [Anna Ben Cleo] <nil>
}

// A row that does not fit says which it is, and nothing is inserted.
func ExampleBatchInsert_badRow() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	_, err := pgpool.BatchInsert(ctx, pool, "patients", []newPatient{{"ana@example.org", "Ana"}, {"ben@example.org", "Ben\x00"}})
	if bad, ok := errors.AsType[*pgpool.RowError](err); ok {
		fmt.Println("row", bad.Row, "column", bad.Column)
	}
	n, err := pgpool.Get[int](ctx, pool, "select count(*) from patients")
	fmt.Println(n, err)
	// Output:
	// row 1 column name
	// 0 <nil>
}

// What the rows became, in their order.
func ExampleBatchInsertReturning() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	ids, err := pgpool.BatchInsertReturning[newPatient, int64](ctx, pool, "patients",
		[]newPatient{{"ana@example.org", "Ana"}, {"ben@example.org", "Ben"}}, pgpool.Returning("id"))
	fmt.Println(ids, err)
	// Output: [1 2] <nil>
}

// Rows that come one by one, in constant memory.
func ExampleBatchInsertSeq() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	rows := slices.Values([]newPatient{{"ana@example.org", "Ana"}, {"ben@example.org", "Ben"}}) // or a file, line by line
	n, err := pgpool.BatchInsertSeq(ctx, pool, "patients", rows)
	fmt.Println(n, err)
	// Output: 2 <nil>
}

// What follows from a transaction happens once, and only if it stands.
func ExampleAfterCommit() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	add := func(email string) error {
		return pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			pgpool.AfterCommit(ctx, func(context.Context) { fmt.Println("welcome,", email) })
			_, err := tx.Exec(ctx, "insert into patients (email, name) values ($1, $1)", email)
			return err
		})
	}
	fmt.Println(add("ana@example.org"))
	fmt.Println(pgpool.IsUniqueViolation(add("ana@example.org"), "patients_email_key"))
	// Output:
	// welcome, ana@example.org
	// <nil>
	// true
}

// A transaction within one is a savepoint; calls of the pool join it.
func ExamplePool_InTx() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	insert := func(ctx context.Context, name string) error {
		_, err := pool.Exec(ctx, "insert into patients (email, name) values ($1, $1)", name)
		return err
	}
	err := pool.InTx(ctx, func(ctx context.Context, _ pgx.Tx) error {
		if err := insert(ctx, "Ana"); err != nil {
			return err
		}
		err := pool.InTx(ctx, func(ctx context.Context, _ pgx.Tx) error {
			return errors.Join(insert(ctx, "Ben"), errors.New("not him"))
		})
		fmt.Println(err)
		return nil
	})
	names, _ := pgpool.Select[string](ctx, pool, "select name from patients")
	fmt.Println(names, err)
	// Output:
	// not him
	// [Ana] <nil>
}

// A transaction whose outcome is always known, also if the server crashes during
// its COMMIT.
func ExampleLedger() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	fmt.Println(pgpool.CreateLedger(ctx, pool, "ledger")) // once, or in a migration
	err := pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into patients (email, name) values ('ana@example.org', 'Ana')")
		return err
	}, pgpool.Ledger("ledger"))
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
}

// A user reads from a replica what the same user wrote before.
func ExampleWithToken() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	write := pgpool.WithToken(ctx, "") // of a user who wrote nothing yet
	_, err := pool.Exec(write, "insert into patients (email, name) values ('ana@example.org', 'Ana')")
	token := pgpool.TokenFrom(write) // keep it in the session …
	fmt.Println(token != "", err)

	read := pgpool.WithToken(ctx, token) // … for the next request
	name, err := pgpool.Get[string](read, pool.Replica(), "select name from patients")
	fmt.Println(name, err)
	// Output:
	// true <nil>
	// Ana <nil>
}

// Libraries for database/sql get the pool's connections.
func ExamplePool_DB() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	db := pool.DB()
	defer db.Close()
	var n int
	err := db.QueryRowContext(ctx, "select count(*) from patients").Scan(&n)
	fmt.Println(n, err)
	// Output: 0 <nil>
}

// A Config prints itself without its secrets.
func ExampleConfig_String() {
	fmt.Println(pgpool.Config{URL: "postgres://ana:secret@db.example.org/clinic", MaxConns: 10})
	// Output: {URL:postgres://db.example.org/clinic MaxConns:10}
}
