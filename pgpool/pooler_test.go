package pgpool_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

func startBouncer(t *testing.T, opts ...devservices.PgBouncerOption) (*devservices.Postgres, *devservices.PgBouncer) {
	t.Helper()
	server := pgpooltest.StartServer(t)
	return server, pgpooltest.StartPgBouncer(t, server, opts...)
}

// 20 connections through 5 server connections, so that they are mixed.
func TestPgBouncerTransactionMode(t *testing.T) {
	t.Parallel()
	_, bouncer := startBouncer(t, devservices.WithServerConns(5))
	var log syncBuffer
	p := newPool(t, pgpool.Config{URL: bouncer.URL(), StatementTimeout: 5 * time.Second}, pgpool.WithLogger(log.logger()))
	if mode := p.Stats().PoolMode; mode != pgpool.PoolModeTransaction {
		t.Fatalf("found pool mode %s, want transaction", mode)
	}
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() {
			for i := range 50 {
				want := w*1000 + i
				var got int
				var err error
				switch i % 5 { // statements of different shapes on shared server connections
				case 0:
					got, err = pgpool.Get[int](t.Context(), p, "select $1::int", want)
				case 1:
					got, err = pgpool.Get[int](t.Context(), p, fmt.Sprintf("select $1::int + 0 * %d", w), want)
				case 2:
					var s string
					s, err = pgpool.Get[string](t.Context(), p, "select $1::text", fmt.Sprint(want))
					fmt.Sscan(s, &got)
				case 3:
					err = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
						got, err = pgpool.Get[int](ctx, tx, "select $1::int", want)
						return err
					})
				default:
					err = p.QueryRow(t.Context(), "select $1::bigint::int", want).Scan(&got)
				}
				if err != nil || got != want {
					t.Errorf("got %d, %v, want %d", got, err, want)
				}
			}
		})
	}
	wg.Wait()
	if s := p.Stats(); s.Errors != (pgpool.ErrorStats{}) && s.Errors.Connection == 0 {
		t.Errorf("Errors = %+v", s.Errors)
	}
	mustExec(t, p, "listen something", "listen something")
	if n := strings.Count(log.String(), "session feature behind a transaction pooler"); n != 1 {
		t.Errorf("the warning came %d times, want once", n)
	}
	mustExec(t, p, "create table items (id int primary key, value text not null)")
	for _, n := range []int{10, 500} {
		if got, err := pgpool.BatchInsert(t.Context(), p, "items", items(1, n, "x"), pgpool.OnConflictUpdate("id")); err != nil || got != int64(n) {
			t.Errorf("BatchInsert: %d, %v", got, err)
		}
	}
}

func TestPgBouncerTimeouts(t *testing.T) {
	t.Parallel()
	_, bouncer := startBouncer(t)
	p := newPool(t, pgpool.Config{URL: bouncer.URL(), StatementTimeout: 200 * time.Millisecond})
	start := time.Now()
	if _, err := p.Exec(t.Context(), "select pg_sleep(30)"); !errors.Is(err, pgpool.ErrQueryTimeout) {
		t.Errorf("single statement: %v, want ErrQueryTimeout", err)
	}
	err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		if got, err := pgpool.Get[string](ctx, tx, "show statement_timeout"); err != nil || got != "200ms" {
			t.Errorf("statement_timeout in a transaction = %s, %v", got, err)
		}
		_, err := tx.Exec(ctx, "select pg_sleep(30)")
		return err
	})
	if !errors.Is(err, pgpool.ErrQueryTimeout) {
		t.Errorf("in a transaction: %v, want ErrQueryTimeout", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	if got, err := pgpool.Get[string](t.Context(), p, "show statement_timeout"); err != nil || got != "0" {
		t.Errorf("statement_timeout afterwards = %s, %v: it leaked to others", got, err)
	}
}

func TestPgBouncerRestartUnderLoad(t *testing.T) {
	t.Parallel()
	_, bouncer := startBouncer(t)
	p := newPool(t, pgpool.Config{URL: bouncer.URL(), ConnectTimeout: 30 * time.Second})
	mustExec(t, p, auditTables)
	if err := pgpool.CreateLedger(t.Context(), p, "ledger"); err != nil {
		t.Fatal(err)
	}
	// Behind a transaction pooler its default mode fails by itself.
	raw := bare(t, bouncer.URL()+"&default_query_exec_mode=exec")
	for name, opts := range map[string][]pgpool.TxOption{"xid": nil, "ledger": {pgpool.Ledger("ledger")}} {
		var a audit
		var ours, theirs meter
		mustExec(t, p, "truncate audit")
		callers := newLoad()
		callers.run(4, &ours, func() error {
			err := a.write(context.Background(), p, opts...)
			if err != nil {
				t.Errorf("%s: an error reached a caller: %v", name, err)
			}
			return err
		})
		callers.run(4, &ours, func() error {
			_, err := pgpool.Get[int64](context.Background(), p, "select n from counters where id = $1", 1)
			if err != nil {
				t.Errorf("%s: an error reached a caller: %v", name, err)
			}
			return err
		})
		callers.run(4, &theirs, bareExec(context.Background(), raw, "select n from counters where id = 1"))
		for range rounds(2) {
			before := p.Stats().TxCommitted
			if err := bouncer.Kill(); err != nil {
				t.Error(err)
			}
			if err := bouncer.Restart(context.Background()); err != nil {
				t.Error(err)
			}
			ours.heal()
			theirs.heal()
			eventually(t, "writes go on", func() bool { return p.Stats().TxCommitted > before+20 })
		}
		callers.end()
		lost, doubled := a.check(t, p)
		t.Logf("%s, %d restarts: %v; of %d commits %d lost, %d doubled; bare pgxpool: %v", name, rounds(2), &ours, len(a.acked), lost, doubled, &theirs)
		if lost != 0 || doubled != 0 {
			t.Errorf("%s: %d lost, %d doubled of %d", name, lost, doubled, len(a.acked))
		}
	}
}

// A session-mode pooler takes prepared statements and SET, but no start-up
// settings.
func TestPgBouncerSessionMode(t *testing.T) {
	t.Parallel()
	_, bouncer := startBouncer(t, devservices.WithPoolMode(devservices.SessionMode))
	p := newPool(t, pgpool.Config{URL: bouncer.URL(), PoolMode: pgpool.PoolModeSession, StatementTimeout: 1234 * time.Millisecond, MaxConns: 4})
	for range 3 {
		if got, err := pgpool.Get[string](t.Context(), p, "select current_setting('statement_timeout') where $1", true); err != nil || got != "1234ms" {
			t.Errorf("statement_timeout = %s, %v", got, err)
		}
	}
	prepared, err := pgpool.Get[int](t.Context(), p, "select count(*)::int from pg_prepared_statements")
	if err != nil || prepared == 0 {
		t.Errorf("%d prepared statements, %v, want some", prepared, err)
	}
}
