package pgpool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// cutter cuts connections around a share of the COMMITs: before the server has
// it, after the server has it, and before the client hears of it.
func cutter(share float64) func(m *faultproxy.Message) faultproxy.Verdict {
	return func(m *faultproxy.Message) faultproxy.Verdict {
		switch {
		case m.Dir == faultproxy.ToServer && m.Executes("commit"):
			switch x := rand.Float64(); {
			case x < share:
				return faultproxy.Cut
			case x < 2*share:
				return faultproxy.PassThenCut
			}
		case m.Completes("COMMIT"):
			if rand.Float64() < share {
				return faultproxy.Cut
			}
		}
		return faultproxy.Pass
	}
}

// TestLostCommits cuts connections at every step of COMMIT, mixed with
// terminations and crashes, and audits every transaction. PEDRO_ROUNDS=20 makes
// it 5,000 transactions a mode. Beside it, the two usual ways to repeat.
func TestLostCommits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		write func(ctx context.Context, a *audit, p *pgpool.Pool, raw *pgxpool.Pool) error
		safe  bool
	}{
		{"xid and epoch", func(ctx context.Context, a *audit, p *pgpool.Pool, _ *pgxpool.Pool) error { return a.write(ctx, p) }, true},
		{"ledger", func(ctx context.Context, a *audit, p *pgpool.Pool, _ *pgxpool.Pool) error {
			return a.write(ctx, p, pgpool.Ledger("ledger"))
		}, true},
		{"repeat on any error", func(ctx context.Context, a *audit, _ *pgpool.Pool, raw *pgxpool.Pool) error {
			return a.writeRaw(ctx, raw, func(error) bool { return true })
		}, false},
		{"repeat if SafeToRetry", func(ctx context.Context, a *audit, _ *pgpool.Pool, raw *pgxpool.Pool) error {
			return a.writeRaw(ctx, raw, pgconn.SafeToRetry)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := pgpooltest.StartServer(t)
			proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
			url := proxy.URL(server.URL())
			p := newPool(t, pgpool.Config{URL: url, ConnectTimeout: 30 * time.Second})
			mustExec(t, p, auditTables)
			if err := pgpool.CreateLedger(t.Context(), p, "ledger"); err != nil {
				t.Fatal(err)
			}
			raw, err := pgxpool.New(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			direct := newPool(t, pgpool.Config{URL: server.URL(), MaxConns: 2, AppName: "admin", ConnectTimeout: 30 * time.Second})
			proxy.OnMessage(cutter(0.02))

			const each = 256
			var a audit
			var failed, unknown atomic.Int64
			for round := range rounds(2) {
				var wg sync.WaitGroup
				for range 8 {
					wg.Go(func() {
						for range each / 8 {
							err := c.write(context.Background(), &a, p, raw)
							switch {
							case errors.Is(err, pgpool.ErrCommitUnknown):
								unknown.Add(1)
							case err != nil:
								failed.Add(1)
								if c.safe {
									t.Errorf("an error reached a caller: %v", err)
								}
							}
						}
					})
				}
				mustExec(t, direct, "select pg_terminate_backend(pid) from pg_stat_activity where application_name <> 'admin' and backend_type = 'client backend'")
				if round%10 == 1 && c.safe {
					if err := server.Kill(); err != nil {
						t.Error(err)
					}
					if err := server.Restart(context.Background()); err != nil {
						t.Error(err)
					}
				}
				wg.Wait()
			}
			proxy.OnMessage(nil)
			lost, doubled := a.check(t, direct)
			s := p.Stats()
			t.Logf("%d transactions: %d acknowledged, %d lost, %d doubled, %d unknown, %d other errors; %d lost replies resolved", a.next.Load(), len(a.acked), lost, doubled, unknown.Load(), failed.Load(), s.CommitsResolved)
			if c.safe && (lost != 0 || doubled != 0) {
				t.Errorf("%d writes lost, %d doubled, want none", lost, doubled)
			}
			if c.safe && s.CommitsResolved == 0 {
				t.Error("no commit had to be resolved: the test tests nothing")
			}
			if c.name == "ledger" && unknown.Load() != 0 {
				t.Errorf("%d unknown with a ledger, want none", unknown.Load())
			}
			if !c.safe && doubled == 0 && rounds(2) > 10 {
				t.Error("the usual way doubled nothing: the test tests nothing")
			}
		})
	}
}

// writeRaw is what many write by hand.
func (a *audit) writeRaw(ctx context.Context, raw *pgxpool.Pool, again func(error) bool) error {
	id := a.next.Add(1)
	var err error
	for range 20 {
		err = pgx.BeginFunc(ctx, raw, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "insert into audit (id) values ($1)", id); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "update counters set n = n + 1 where id = $1", id%8)
			return err
		})
		if err == nil {
			a.ack(id)
			return nil
		}
		if !again(err) {
			return err
		}
		time.Sleep(jitter(5 * time.Millisecond))
	}
	return err
}

// A COMMIT whose owner hangs: the server does not know that the client is gone,
// so the transaction stays open until somebody ends it.
func TestLostCommitOfHangingSession(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]pgpool.TxOption{nil, {pgpool.Ledger("ledger")}} {
		server := pgpooltest.StartServer(t)
		proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
		p := newPool(t, pgpool.Config{URL: proxy.URL(server.URL()), QueryTimeout: 300 * time.Millisecond})
		mustExec(t, p, auditTables)
		if err := pgpool.CreateLedger(t.Context(), p, "ledger"); err != nil {
			t.Fatal(err)
		}
		var once atomic.Bool
		proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
			if m.Dir == faultproxy.ToServer && m.Executes("commit") && once.CompareAndSwap(false, true) {
				return faultproxy.Stall
			}
			return faultproxy.Pass
		})
		var a audit
		if err := a.write(t.Context(), p, opts...); err != nil {
			t.Errorf("got %v, want the transaction to be run again", err)
		}
		if lost, doubled := a.check(t, p); lost != 0 || doubled != 0 || len(a.acked) != 1 {
			t.Errorf("lost %d, doubled %d of %d", lost, doubled, len(a.acked))
		}
		if s := p.Stats(); s.CommitsResolved != 1 || s.TxRetried != 1 {
			t.Errorf("Stats = %+v, want one commit resolved and one transaction repeated", s)
		}
	}
}
