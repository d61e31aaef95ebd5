package pgpool_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

// The level, and how often the function may be run again.
func ExampleIsolation() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	attempts := 0
	err := pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		level, err := pgpool.Get[string](ctx, tx, "show transaction_isolation")
		fmt.Println(level, err)
		_, err = tx.Exec(ctx, "do $$ begin raise serialization_failure; end $$")
		return err
	}, pgpool.Isolation(pgx.Serializable), pgpool.MaxAttempts(2))
	fmt.Println(attempts, pgpool.Code(err))
	// Output:
	// serializable <nil>
	// serializable <nil>
	// 2 40001
}

// A report that sees one state of the database and writes nothing.
func ExampleReadOnly() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	err := pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "delete from patients")
		return err
	}, pgpool.Isolation(pgx.Serializable), pgpool.ReadOnly(), pgpool.Deferrable())
	fmt.Println(pgpool.Code(err) == "25006") // read_only_sql_transaction
	// Output: true
}

// Outside leaves the transaction: an audit that stays although it fails.
func ExampleOutside() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	err := pool.InTx(ctx, func(ctx context.Context, _ pgx.Tx) error {
		_, err := pool.Exec(pgpool.Outside(ctx), "insert into patients (email, name) values ('audit', 'it was tried')")
		return errors.Join(err, errors.New("rolled back"))
	})
	names, _ := pgpool.Select[string](ctx, pool, "select name from patients")
	fmt.Println(err, names)
	// Output: rolled back [it was tried]
}

// Row-level security as behind Supabase's API.
func ExampleWithClaims() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	for _, sql := range []string{
		"create role authenticated", "create role anon", "grant select on patients to authenticated, anon",
		"insert into patients (email, name) values ('ana@example.org', 'Ana'), ('ben@example.org', 'Ben')",
		"alter table patients enable row level security",
		"create policy own on patients using (email = current_setting('request.jwt.claims')::json->>'email')",
	} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			fmt.Println(err)
			return
		}
	}
	names, err := pgpool.Transaction(ctx, pool, func(ctx context.Context, tx pgx.Tx) ([]string, error) {
		return pgpool.Select[string](ctx, tx, "select name from patients")
	}, pgpool.WithClaims(pgpool.Claims{"role": "authenticated", "email": "ana@example.org"}))
	fmt.Println(names, err)
	// Output: [Ana] <nil>
}

// A long insert that shows how far it is, and leaves out what is there already.
func ExampleWithProgress() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	type row struct {
		Email, Name string
		Visits      int // left to the table's default
	}
	rows := make([]row, 5000)
	for i := range rows {
		rows[i] = row{Email: fmt.Sprint(i/2, "@example.org"), Name: "Ana"} // each address twice
	}
	n, err := pgpool.BatchInsert(ctx, pool, "patients", rows, pgpool.OnConflictDoNothing("email"), pgpool.Omit("visits"),
		pgpool.WithProgress(func(done, total int) {
			if done == total {
				fmt.Println(done, "of", total)
			}
		}))
	fmt.Println(n, err)
	// Output:
	// 5000 of 5000
	// 2500 <nil>
}

// A ledger keeps a row for each transaction: an hour of them is plenty.
func ExamplePruneLedger() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	if err := pgpool.CreateLedger(ctx, pool, "ledger"); err != nil {
		fmt.Println(err)
		return
	}
	err := pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into patients (email, name) values ('ana@example.org', 'Ana')")
		return err
	}, pgpool.Ledger("ledger"))
	fmt.Println(err)
	n, err := pgpool.PruneLedger(ctx, pool, "ledger", 0) // every minute, with time.Hour
	fmt.Println(n, err)
	// Output:
	// <nil>
	// 1 <nil>
}
