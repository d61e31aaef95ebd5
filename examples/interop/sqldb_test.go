package interop_test

import (
	"database/sql"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pedro-go/pedro/examples/interop"
	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// TestDatabaseSQL: connections die when a statement without arguments has run
// and before its reply has arrived. database/sql on pgx's own adapter sends it
// once more, and the row is there twice; on the pool it reports the error.
func TestDatabaseSQL(t *testing.T) {
	t.Parallel()
	const rounds = 20
	for name, open := range map[string]func(t *testing.T, url string) *sql.DB{
		"pgpool": func(t *testing.T, url string) *sql.DB {
			t.Helper()
			return interop.OpenDB(openPool(t, pgpool.Config{URL: url}))
		},
		"stdlib": func(t *testing.T, url string) *sql.DB {
			t.Helper()
			pool, err := pgxpool.New(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			return stdlib.OpenDBFromPool(pool)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := pgpooltest.StartServer(t)
			direct := openPool(t, pgpool.Config{URL: server.URL()})
			if _, err := interop.Migrate(t.Context(), direct); err != nil {
				t.Fatal(err)
			}
			var anna int64
			if err := direct.QueryRow(t.Context(), "insert into patients (name) values ('Anna') returning id").Scan(&anna); err != nil {
				t.Fatal(err)
			}
			proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
			db := open(t, proxy.URL(server.URL()))
			t.Cleanup(func() { _ = db.Close() })
			var armed atomic.Bool
			proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
				if strings.HasPrefix(m.Tag, "INSERT") && armed.CompareAndSwap(true, false) {
					return faultproxy.Cut
				}
				return faultproxy.Pass
			})
			failed := 0
			for range rounds {
				armed.Store(true)
				if _, err := db.ExecContext(t.Context(), "insert into visits (patient, reason) values ((select min(id) from patients), 'flu')"); err != nil {
					failed++
				}
			}
			n, err := pgpool.Get[int](t.Context(), direct, "select count(*) from visits")
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d inserts, each cut off after it ran: %d rows, %d errors", rounds, n, failed)
			if name == "pgpool" && (n != rounds || failed != rounds) {
				t.Errorf("%d rows and %d errors, want %d of each", n, failed, rounds)
			}
			if name == "stdlib" && n <= rounds {
				t.Errorf("%d rows: pgx's own adapter writes twice no more, so the documents are out of date", n)
			}
			if err := interop.Book(t.Context(), db, anna, "after the storm"); err != nil {
				t.Errorf("after it: %v", err)
			}
		})
	}
}
