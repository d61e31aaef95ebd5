package pgpool_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// The replies to COMMIT are lost, the server crashes and loses some of these
// commits, and before anybody can ask for them others use their transaction
// ids again. What was lost must be done again, what was kept must not.
func TestCommitsAreFoundAfterACrash(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t, devservices.WithPostgresConfig("synchronous_commit", "off"), devservices.WithPostgresConfig("wal_writer_delay", "10s"))
	proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
	const writers = 8
	p := newPool(t, pgpool.Config{URL: proxy.URL(server.URL()), ConnectTimeout: 30 * time.Second, MaxConns: writers, MinConns: writers, IdleTimeout: time.Hour})
	direct := newPool(t, pgpool.Config{URL: server.URL(), MaxConns: 1, ConnectTimeout: 30 * time.Second, AppName: "direct"})
	mustExec(t, p, auditTables, "create table others (id int)", "create table bare (id bigint)", "checkpoint")
	raw := bare(t, proxy.URL(server.URL())+"&pool_max_conns=8") // told an error for each of its commits
	var kept, redone int64
	var rawFailed, rawID atomic.Int64
	var calls meter
	var a audit
	for round := range rounds(3) {
		eventually(t, "connections for all", func() bool {
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() { _, _ = p.Exec(t.Context(), "select pg_sleep(0.01)") })
			}
			wg.Wait()
			n, err := pgpool.Get[int](t.Context(), direct, "select count(*)::int from pg_stat_activity where application_name = $1", pgpool.DefaultAppName)
			return err == nil && n == writers && p.Stats().IdleConns == writers
		})
		warm(t, raw, writers)
		var cut atomic.Int64
		proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
			switch {
			case m.Completes("COMMIT"):
				cut.Add(1)
				return faultproxy.Cut
			case strings.Contains(m.SQL, "pg_xact_status"): // on a connection that nobody needed: too early
				return faultproxy.Cut
			}
			return faultproxy.Pass
		})
		if err := proxy.Refuse(); err != nil {
			t.Fatal(err)
		}
		var wg, connected sync.WaitGroup
		connected.Add(writers)
		for w := range writers {
			wg.Go(func() {
				id := a.next.Add(1)
				tried := 0
				err := calls.call(func() error {
					return p.InTx(context.Background(), func(ctx context.Context, tx pgx.Tx) error {
						if tried++; tried == 1 { // or who commits first looks for the outcome on a slow one's connection
							connected.Done()
							connected.Wait()
						}
						if w == 0 && round%2 == 0 { // this commit, and those before it, reach the disk
							if _, err := tx.Exec(ctx, "set local synchronous_commit = on"); err != nil {
								return err
							}
						}
						_, err := tx.Exec(ctx, "insert into audit (id) values ($1)", id)
						return err
					})
				})
				switch {
				case err != nil:
					t.Errorf("an error reached a caller: %v", err)
				case tried == 1:
					atomic.AddInt64(&kept, 1)
				default:
					atomic.AddInt64(&redone, 1)
				}
				a.ack(id)
			})
			wg.Go(func() {
				err := pgx.BeginFunc(context.Background(), raw, func(tx pgx.Tx) error {
					_, err := tx.Exec(context.Background(), "insert into bare (id) values ($1)", rawID.Add(1))
					return err
				})
				if err != nil {
					rawFailed.Add(1)
				}
			})
		}
		eventually(t, "all replies are lost", func() bool { return cut.Load() == 2*writers })
		proxy.OnMessage(nil)
		if err := errors.Join(server.Kill(), server.Restart(context.Background())); err != nil {
			t.Fatal(err)
		}
		for range 4 * writers { // others use the ids again
			mustExec(t, direct, "insert into others values (1)")
		}
		calls.heal()
		if err := proxy.Heal(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		mustExec(t, direct, "checkpoint") // what is acknowledged now must outlive the next crash
	}
	lost, doubled := a.check(t, direct)
	t.Logf("%d commits: %d had survived, %d were done again; %d lost, %d doubled; the last round was %v", len(a.acked), kept, redone, lost, doubled, &calls)
	stand, err := pgpool.Get[int](t.Context(), direct, "select count(*)::int from bare")
	t.Logf("bare pgxpool: %d commits, %d errors, and %d of these stand (%v)", rawID.Load(), rawFailed.Load(), stand, err)
	if lost != 0 || doubled != 0 {
		t.Errorf("%d lost, %d doubled, want none", lost, doubled)
	}
	if kept == 0 || redone == 0 {
		t.Errorf("%d kept, %d done again: the test tests nothing", kept, redone)
	}
}
