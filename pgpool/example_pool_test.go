package pgpool_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/pgpool"
)

// The variables of the environment, of which DATABASE_URL is enough.
func ExampleConfigFromEnv() {
	defer setenv("DATABASE_URL", "postgres://ana:secret@db.example.org/clinic")()
	defer setenv("DB_QUERY_TIMEOUT", "5s")()
	cfg, err := pgpool.ConfigFromEnv()
	fmt.Println(cfg, err)
	// Output: {URL:postgres://db.example.org/clinic QueryTimeout:5s} <nil>
}

// The pool is used as pgx's own: it is a Querier.
func ExamplePool() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	n, err := pool.CopyFrom(ctx, pgx.Identifier{"patients"}, []string{"email", "name"},
		pgx.CopyFromRows([][]any{{"ana@example.org", "Ana"}, {"ben@example.org", "Ben"}}))
	fmt.Println(n, err)

	var name string
	err = pool.QueryRow(ctx, "select name from patients where email = $1", "ben@example.org").Scan(&name)
	fmt.Println(name, err)

	rows, err := pool.Query(ctx, "select name from patients order by name")
	if err != nil {
		fmt.Println(err)
		return
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	fmt.Println(names, err)

	batch := &pgx.Batch{} // one round trip
	batch.Queue("update patients set visits = visits + 1 where name = 'Ana'")
	batch.Queue("select sum(visits)::int from patients").QueryRow(func(row pgx.Row) error {
		var visits int
		defer func() { fmt.Println(visits, "visit") }()
		return row.Scan(&visits)
	})
	fmt.Println(pool.SendBatch(ctx, batch).Close())
	// Output:
	// 2 <nil>
	// Ben <nil>
	// [Ana Ben] <nil>
	// 1 visit
	// <nil>
}

// What a health check and a page for operators want to know.
func ExamplePool_Stats() {
	ctx := context.Background()
	pool, stop := clinicPool()
	defer stop()
	fmt.Println(pool.Ping(ctx))
	s := pool.Stats()
	fmt.Println(s.Healthy, s.PoolMode, s.MaxConns, s.QueryCount)
	fmt.Println(pool.Pgx().Config().MaxConns) // the pgxpool.Pool below
	long, err := pool.LongRunning(ctx, time.Hour)
	fmt.Println(len(long), err)
	// Output:
	// <nil>
	// true direct 20 1
	// 20
	// 0 <nil>
}

// Advice names the variable to change.
func ExamplePool_Advice() {
	pool, err := pgpool.New(pgpool.Config{URL: "postgres://ana:secret@db.example.org/clinic?sslmode=disable"})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = pool.Stop(context.Background()) }()
	for _, hint := range pool.Advice() {
		fmt.Println(hint)
	}
	// Output: DATABASE_URL, DB_REPLICA_URLS: the connection to the primary is not encrypted: add sslmode=verify-full
}

// Tokens instead of passwords, and what a new connection needs.
func ExampleWithPassword() {
	ctx := context.Background()
	server, err := devservices.StartPostgres(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	pool, err := pgpool.New(pgpool.Config{URL: server.URL(), MinConns: 1},
		pgpool.WithPassword(func(context.Context) (string, error) { return server.Password(), nil }), // from the cloud's IAM, say
		pgpool.WithBeforeConnect(func(_ context.Context, cfg *pgx.ConnConfig) error {
			if cfg.TLSConfig != nil {
				cfg.TLSConfig.MinVersion = tls.VersionTLS13
			}
			return nil
		}),
		pgpool.WithAfterConnect(func(_ context.Context, conn *pgx.Conn) error {
			fmt.Println("connected to", conn.Config().Database != "") // the place to register types
			return nil
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pool.Start(ctx))
	fmt.Println(pool.Stop(ctx))
	// Output:
	// connected to true
	// <nil>
	// <nil>
}

// A tracer sees each statement.
type tracer struct{}

func (tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	fmt.Println("trace:", data.SQL)
	return ctx
}

func (tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// Slow statements are logged, and told to a function; arguments are never shown.
func ExampleWithSlowQuery() {
	ctx := context.Background()
	server, err := devservices.StartPostgres(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	pool, err := pgpool.New(pgpool.Config{URL: server.URL(), SlowQuery: 10 * time.Millisecond},
		pgpool.WithLogger(slog.New(slog.DiscardHandler)),
		pgpool.WithTracer(tracer{}),
		pgpool.WithSlowQuery(func(q pgpool.SlowQuery) {
			if !q.Running {
				fmt.Println("slow:", q.SQL, q.Args)
			}
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = pool.Stop(ctx) }()
	_, err = pool.Exec(ctx, "select pg_sleep($1)", 0.05)
	fmt.Println(err)
	// Output:
	// trace: select pg_sleep($1)
	// slow: select pg_sleep($1) [float64]
	// <nil>
}

// A pool that is exhausted says who holds its connections.
func ExampleWithLeakDetection() {
	ctx := context.Background()
	server, err := devservices.StartPostgres(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	pool, err := pgpool.New(pgpool.Config{URL: server.URL(), MaxConns: 1, MinConns: 1, ConnectTimeout: 50 * time.Millisecond},
		pgpool.WithLeakDetection(time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := pool.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = pool.Stop(ctx) }()
	rows, err := pool.Query(ctx, "select 1")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rows.Close() // too late
	_, err = pool.Exec(ctx, "select 2")
	if exhausted, ok := errors.AsType[*pgpool.ExhaustedError](err); ok {
		fmt.Println(errors.Is(err, pgpool.ErrPoolExhausted), len(exhausted.Holders), exhausted.Holders[0].SQL)
	}
	// Output: true 1 select 1
}

func setenv(name, value string) (restore func()) {
	before, was := os.LookupEnv(name)
	_ = os.Setenv(name, value)
	return func() {
		if was {
			_ = os.Setenv(name, before)
		} else {
			_ = os.Unsetenv(name)
		}
	}
}
