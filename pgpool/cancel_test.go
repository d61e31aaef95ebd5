package pgpool_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

func TestCancelKeepsTheConnection(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 2, MinConns: -1})
	cause := errors.New("the user left")
	for range 10 {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := make(chan struct{})
		go func() { // once it runs
			defer close(stop)
			defer cancel(cause)
			eventually(t, "the statement runs", func() bool {
				list, err := p.LongRunning(t.Context(), 0)
				return err == nil && slices.ContainsFunc(list, func(q pgpool.RunningQuery) bool { return q.SQL == "select pg_sleep(30)" })
			})
		}()
		_, err := p.Exec(ctx, "select pg_sleep(30)")
		if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || pgpool.Code(err) != "57014" {
			t.Errorf("got %v, want context.Canceled, its cause and 57014", err)
		}
		<-stop
		if _, err := pgpool.Get[int](t.Context(), p, "select 1"); err != nil {
			t.Errorf("the next query: %v", err)
		}
	}
	if s := p.Stats(); s.Opened > 2 || s.Cancelled != 10 {
		t.Errorf("%d connections were opened for %d cancelled statements, want the same ones used on", s.Opened, s.Cancelled)
	}
}

func TestCancelInTransaction(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	opened := p.Stats().Opened
	err := p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := insert(ctx, tx, 1); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "select pg_sleep(30)")
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	if list := ids(t, p); len(list) != 0 {
		t.Errorf("rows %v, want none", list)
	}
	if s := p.Stats(); s.Opened != opened {
		t.Errorf("%d connections were opened, want the transaction's kept", s.Opened-opened)
	}
}

// TestCancelOfEachKind: whatever runs is cancelled at the server, and what comes
// next on the same connection is neither cancelled nor cut off.
func TestCancelOfEachKind(t *testing.T) {
	t.Parallel()
	type row struct{ ID int }
	for name, run := range map[string]func(ctx context.Context, tx pgx.Tx) error{
		"Query": func(ctx context.Context, tx pgx.Tx) error {
			_, err := pgpool.Select[row](ctx, tx, "select id from t")
			return err
		},
		"SendBatch": func(ctx context.Context, tx pgx.Tx) error {
			b := &pgx.Batch{}
			b.Queue("select 1")
			b.Queue("insert into t values (1)")
			return tx.SendBatch(ctx, b).Close()
		},
		"CopyFrom": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"id"}, pgx.CopyFromRows([][]any{{1}}))
			return err
		},
		"BatchInsert": func(ctx context.Context, tx pgx.Tx) error {
			_, err := pgpool.BatchInsert(ctx, tx, "t", []row{{1}})
			return err
		},
		"Conn": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Conn().Exec(ctx, "insert into t values (1)")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newTable(t)
			blocked := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "lock table t"); err != nil {
					return err
				}
				return p.InTx(pgpool.Outside(t.Context()), func(ctx context.Context, other pgx.Tx) error {
					if _, err := other.Exec(ctx, "savepoint before"); err != nil {
						return err
					}
					ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
					defer cancel()
					if err := run(ctx, other); !errors.Is(err, context.DeadlineExceeded) && pgpool.Code(err) != "57014" {
						t.Errorf("got %v, want DeadlineExceeded", err)
					}
					// On the connection itself, longer than the cancelled statement was given to end.
					_, err := other.Conn().Exec(t.Context(), "rollback to before; select pg_sleep(1.1)")
					return err
				})
			})
			if s := p.Stats(); blocked != nil || s.Cancelled != 1 || s.Opened > 2 {
				t.Errorf("%v; %d were cancelled and %d connections opened, want 1 and no more than 2", blocked, s.Cancelled, s.Opened)
			}
		})
	}
}

// TestCancelledBefore: a statement that is not even sent, because its context
// has ended, says why too.
func TestCancelledBefore(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	cause := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(t.Context())
	var inside error
	_ = p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := insert(ctx, tx, 1); err != nil {
			return err
		}
		cancel(cause)
		_, inside = tx.Exec(ctx, "select 1")
		return inside
	})
	_, outside := p.Exec(ctx, "select 1")
	for name, err := range map[string]error{"in a transaction": inside, "by itself": outside} {
		if !errors.Is(err, cause) {
			t.Errorf("%s: got %v, want the cause", name, err)
		}
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		cfg  pgpool.Config
	}{
		{"query timeout", pgpool.Config{QueryTimeout: 100 * time.Millisecond}},
		{"statement timeout", pgpool.Config{StatementTimeout: 100 * time.Millisecond}},
	} {
		p := newPool(t, c.cfg)
		opened := p.Stats().Opened
		start := time.Now()
		_, err := p.Exec(t.Context(), "select pg_sleep(30)")
		if !errors.Is(err, pgpool.ErrQueryTimeout) || time.Since(start) > 10*time.Second {
			t.Errorf("%s: %v after %v", c.name, err, time.Since(start))
		}
		err = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "select pg_sleep(30)")
			return err
		})
		if !errors.Is(err, pgpool.ErrQueryTimeout) {
			t.Errorf("%s in a transaction: %v", c.name, err)
		}
		if s := p.Stats(); s.Opened != opened || s.Errors.Timeout < 2 {
			t.Errorf("%s: Stats = %+v, want no new connection and 2 timeouts", c.name, s)
		}
	}
	p := newPool(t, pgpool.Config{QueryTimeout: -1, StatementTimeout: -1})
	if got, err := pgpool.Get[string](t.Context(), p, "show statement_timeout"); err != nil || got != "0" {
		t.Errorf("switched off: statement_timeout = %s, %v", got, err)
	}
}

// A server that does not answer any more, and does not take a cancel request
// either, costs a second more than the timeout.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
	p := newPool(t, pgpool.Config{URL: proxy.URL(server.URL()), QueryTimeout: 200 * time.Millisecond, ConnectTimeout: 500 * time.Millisecond, MaxConns: 2})
	mustExec(t, p, "select 1")
	raw := bare(t, proxy.URL(server.URL()))
	warm(t, raw, 1)
	proxy.Blackhole()
	var ours, theirs meter
	hung := make(chan struct{})
	go func() {
		defer close(hung)
		_ = theirs.call(bareExec(t.Context(), raw, "select 1"))
	}()
	start := time.Now()
	err := ours.call(func() error { _, err := p.Exec(t.Context(), "select 1"); return err })
	if !errors.Is(err, pgpool.ErrQueryTimeout) || time.Since(start) > 10*time.Second {
		t.Errorf("got %v after %v, want ErrQueryTimeout soon", err, time.Since(start))
	}
	select {
	case <-hung:
	default:
		t.Log("the call on a bare pgxpool still hangs, and does so until the connection is cut")
	}
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	ours.heal()
	proxy.Reset()
	<-hung
	eventually(t, "the pool works again", func() bool {
		return ours.call(func() error { return p.Ping(t.Context()) }) == nil
	})
	t.Logf("%v; bare pgxpool: %v", &ours, &theirs)
}

// One call in a hundred is cancelled. The others keep their connections: with
// pgx's defaults each cancellation closes one, and the reconnects starve
// everybody where a connection takes a while.
func TestImpatientCallersDoNotStarveOthers(t *testing.T) {
	t.Parallel()
	const callers, each, oneIn = 16, 300, 100
	// All connections are there from the beginning, so that those opened later
	// stand for others that were lost.
	p := newPool(t, pgpool.Config{MinConns: pgpool.DefaultMaxConns})
	eventually(t, "all connections", func() bool { return p.Stats().TotalConns == pgpool.DefaultMaxConns })
	storm := func(patient, impatient func(context.Context) error) *meter {
		var wg, others sync.WaitGroup
		var n atomic.Int64
		var m meter
		for range callers {
			wg.Go(func() {
				for range each {
					_ = m.call(func() error { return patient(t.Context()) })
					if n.Add(1)%oneIn == 0 {
						others.Go(func() {
							ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
							defer cancel()
							if err := impatient(ctx); !errors.Is(err, context.DeadlineExceeded) {
								t.Errorf("an impatient caller got %v", err)
							}
						})
					}
				}
			})
		}
		wg.Wait()
		others.Wait()
		return &m
	}
	const short, long = "select pg_sleep(0.002)", "select pg_sleep(30)"
	before := p.Stats()
	ours := storm(
		func(ctx context.Context) error { _, err := p.Exec(ctx, short); return err },
		func(ctx context.Context) error { _, err := p.Exec(ctx, long); return err },
	)
	after := p.Stats()
	cancelled, opened := after.Cancelled-before.Cancelled, after.Opened-before.Opened
	t.Logf("%v, while %d were cancelled: %d connections opened anew", ours, cancelled, opened)
	if ours.failed > 0 {
		t.Errorf("%d patient calls failed", ours.failed)
	}
	if cancelled < callers*each/oneIn/2 {
		t.Errorf("only %d statements were cancelled", cancelled)
	}
	// PostgreSQL drops a cancel request that arrives before the server process
	// has read the statement, which happens on a busy machine; the connection is
	// given up then. TestCancelKeepsTheConnection is exact.
	if opened > cancelled/2 {
		t.Errorf("%d connections were opened anew for %d cancelled statements, want them kept", opened, cancelled)
	}

	raw := bare(t, p.Config().URL+"&application_name=bare&pool_max_conns=20")
	warm(t, raw, int(pgpool.DefaultMaxConns))
	theirs := storm(
		func(ctx context.Context) error { _, err := raw.Exec(ctx, short); return err },
		func(ctx context.Context) error { _, err := raw.Exec(ctx, long); return err },
	)
	t.Logf("bare pgxpool: %v, %d connections opened anew", theirs, raw.Stat().NewConnsCount()-int64(pgpool.DefaultMaxConns))
	mustExec(t, p, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'bare'") // or its Close waits for each
}
