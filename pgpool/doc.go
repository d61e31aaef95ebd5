// Package pgpool is a pool of PostgreSQL connections, on pgx, that outlives the
// server's restarts and never runs a write twice.
//
//	cfg, err := pgpool.ConfigFromEnv() // DATABASE_URL, DB_POOL_MAX …
//	pool, err := pgpool.New(cfg, pgpool.WithLogger(logger))
//	err = pool.Start(ctx)
//	defer pool.Stop(ctx)
//
//	patient, err := pgpool.Get[Patient](ctx, pool, "select * from patients where id = $1", id)
//	slots, err := pgpool.Select[Slot](ctx, pool, "select * from slots where day = $1", day)
//	id, err := pgpool.Transaction(ctx, pool, func(ctx context.Context, tx pgx.Tx) (int64, error) {
//		if _, err := tx.Exec(ctx, "update slots set free = free - 1 where id = $1", slot); err != nil {
//			return 0, err
//		}
//		return pgpool.Get[int64](ctx, tx, "insert into visits (slot, patient) values ($1, $2) returning id", slot, patient)
//	})
//	n, err := pgpool.BatchInsert(ctx, pool, "patients", patients, pgpool.OnConflictDoNothing("email"))
//
// A [Pool] is a [Querier] like pgx's own types, so sqlc, scany and everything
// else made for pgx works on it; [Pool.Pgx] is the pgxpool.Pool below, and
// [Pool.DB] the same connections for database/sql.
//
// # Order
//
// [New] checks the configuration and does no I/O. [Pool.Start] waits until the
// server answers, but a pool works without it: the first call connects.
// [Pool.Stop] lets running work finish until its context ends, then cuts it off
// and names it. Every pool needs one Stop.
//
// # Failure
//
// A server that restarts, crashes or is replaced is not an error as long as it
// is back within [Config.ConnectTimeout]: callers wait.
//
//   - A connection that the server closed while it was idle is noticed before
//     it is used, by a look at the socket. Only a SELECT and a transaction go
//     without, on a connection that was in use a millisecond ago: the one is sent
//     again if it only reads, the other is run again.
//   - A single statement that did not reach the server is sent again. This is
//     known from the bytes that left, not guessed from the error.
//   - A query whose connection is lost after it was sent is repeated in a
//     read-only transaction, so that it cannot write a second time.
//   - A transaction that loses its connection before COMMIT is run again, as
//     after a serialization failure or a deadlock.
//   - A transaction that loses it during COMMIT is looked up: by its id and
//     the server's epoch, or in a [Ledger]. Committed is success, aborted is
//     run again, and only if the server cannot tell the caller gets
//     [ErrCommitUnknown]. The epoch is certain for one crash; only a Ledger is
//     for a server that crashes twice before it can be asked.
//   - A single write outside of a transaction, by [Pool.Exec], is not repeated
//     once it was sent. Its caller gets the error.
//
// What the caller's context or a timeout ends is cancelled at the server, and
// the connection lives on. Errors are tested for with errors.Is
// ([ErrNotFound], [ErrPoolExhausted], [ErrQueryTimeout] …); the server's own
// *pgconn.PgError is always in the chain, and [Code] returns its SQLSTATE.
// Errors hold no passwords. The log holds no arguments of statements; the text
// of an error may show a value that the server or pgx refused.
//
// # Poolers
//
// PgBouncer, Supavisor and the like in transaction mode are noticed
// ([PoolModeAuto]) and spoken to so that results are right: without prepared
// statements and start-up settings. Timeouts still hold.
//
// # Concurrency
//
// A Pool may be used by any number of goroutines. A transaction may be used by
// one at a time, and says so if it is not. Inside a transaction, calls of the
// pool with its context join it; a second connection is taken only by way of
// [Outside].
//
// Who is alone with a request looks for the reply for up to 50 µs before the
// goroutine sleeps, since to be woken takes longer than a server near by. Where
// replies take longer, it soon stops looking, and with TLS, with other requests
// under way or on one processor it does not.
//
// # What the package does not do
//
// It builds no SQL, maps no relations and migrates no schema. It does not cache
// results. It does not repeat single writes. It is exactly-once for the
// database only: what a transaction's function does elsewhere may be done again
// when it is run again; [AfterCommit] is the place for that.
package pgpool
