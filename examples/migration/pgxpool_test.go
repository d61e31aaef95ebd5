package migration_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	pgx "github.com/jackc/pgx/v5/pgxpool"

	"github.com/pedro-go/pedro/examples/migration/pgxpool"
	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// TestPgxpool: the same before and after, as long as nothing goes wrong; then
// replies to COMMIT are lost and parallel transfers meet. Before, callers get
// errors for transfers that stand and for those that could be run again; after,
// none.
func TestPgxpool(t *testing.T) {
	t.Parallel()
	type service struct {
		transfer func(ctx context.Context, from, to, amount int64) error
		accounts func(ctx context.Context) ([]pgxpool.Account, error)
		load     func(ctx context.Context, accounts []pgxpool.Account) (int64, error)
	}
	for name, open := range map[string]func(t *testing.T, url string) service{
		"before": func(t *testing.T, url string) service {
			t.Helper()
			pool, err := pgx.New(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			return service{
				func(ctx context.Context, from, to, amount int64) error {
					return pgxpool.TransferBefore(ctx, pool, from, to, amount)
				},
				func(ctx context.Context) ([]pgxpool.Account, error) { return pgxpool.AccountsBefore(ctx, pool) },
				func(ctx context.Context, accounts []pgxpool.Account) (int64, error) {
					return pgxpool.ImportBefore(ctx, pool, accounts)
				},
			}
		},
		"after": func(t *testing.T, url string) service {
			t.Helper()
			pool, err := pgpool.New(pgpool.Config{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = pool.Stop(context.Background()) })
			return service{
				func(ctx context.Context, from, to, amount int64) error {
					return pgxpool.TransferAfter(ctx, pool, from, to, amount)
				},
				func(ctx context.Context) ([]pgxpool.Account, error) { return pgxpool.AccountsAfter(ctx, pool) },
				func(ctx context.Context, accounts []pgxpool.Account) (int64, error) {
					return pgxpool.ImportAfter(ctx, pool, accounts)
				},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			server := pgpooltest.StartServer(t)
			direct, err := pgx.New(ctx, server.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer direct.Close()
			if _, err := direct.Exec(ctx, "create table accounts (id bigint primary key, owner text not null, balance bigint not null)"); err != nil {
				t.Fatal(err)
			}
			proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
			s := open(t, proxy.URL(server.URL()))
			if n, err := s.load(ctx, []pgxpool.Account{{ID: 1, Owner: "Anna", Balance: 1000}, {ID: 2, Owner: "Bert", Balance: 1000}}); err != nil || n != 2 {
				t.Fatalf("imported %d, %v, want 2", n, err)
			}
			if err := s.transfer(ctx, 1, 2, 100); err != nil {
				t.Fatal(err)
			}
			want := []pgxpool.Account{{ID: 1, Owner: "Anna", Balance: 900}, {ID: 2, Owner: "Bert", Balance: 1100}}
			if got, err := s.accounts(ctx); err != nil || !slices.Equal(got, want) {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}

			var commits atomic.Int64
			proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
				if m.Completes("COMMIT") && commits.Add(1)%10 == 0 {
					return faultproxy.Cut
				}
				return faultproxy.Pass
			})
			var failed atomic.Int64
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					for range 50 {
						if err := s.transfer(ctx, 1, 2, 1); err != nil {
							if failed.Add(1); name == "after" {
								t.Error(err)
							}
						}
					}
				})
			}
			wg.Wait()
			var moved int64
			if err := direct.QueryRow(ctx, "select 900 - balance from accounts where id = 1").Scan(&moved); err != nil {
				t.Fatal(err)
			}
			t.Logf("of 100 transfers %d returned an error and %d stand", failed.Load(), moved)
			if name == "after" && (failed.Load() != 0 || moved != 100) {
				t.Errorf("%d errors, %d moved, want none and 100", failed.Load(), moved)
			}
			if name == "before" && failed.Load()+moved <= 100 {
				t.Errorf("%d errors, %d moved: no transfer stands that returned an error, so the guide is out of date", failed.Load(), moved)
			}
		})
	}
}
