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

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

func TestExhaustedPoolSaysWho(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 2, ConnectTimeout: time.Second}, pgpool.WithLeakDetection(time.Hour))
	release := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			_ = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "select 'the holder'")
				<-release
				return err
			})
		})
	}
	before := p.Stats().Exhausted // Start's own, on a machine too busy to connect within the second
	eventually(t, "both are held", func() bool { return p.Stats().AcquiredConns == 2 })
	eventually(t, "both have run", func() bool { return p.Stats().QueryCount >= 2 })

	var ours meter
	err := ours.call(func() error { _, err := p.Exec(t.Context(), "select 1"); return err })
	full, ok := errors.AsType[*pgpool.ExhaustedError](err)
	if !ok || !errors.Is(err, pgpool.ErrPoolExhausted) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want ErrPoolExhausted", err)
	}
	if full.MaxConns != 2 || len(full.Holders) != 2 || !full.Holders[0].InTx || full.Holders[0].Active || full.Waited < time.Second {
		t.Errorf("got %+v", full)
	}
	for _, want := range []string{"the holder", "acquire_test.go"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	t.Logf("%v: %v", &ours, err)
	raw := bare(t, p.Config().URL+"&pool_max_conns=1")
	conn, err := raw.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	patience, giveUp := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer giveUp()
	var theirs meter
	err = theirs.call(bareExec(patience, raw, "select 1"))
	conn.Release()
	t.Logf("bare pgxpool, for as long as its caller waits: %v: %v", &theirs, err)
	// Health checks are not what a busy pool fails on.
	if err := p.Ping(t.Context()); err != nil {
		t.Errorf("Ping of an exhausted pool: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := p.Exec(ctx, "select 1"); !errors.Is(err, context.Canceled) || !errors.Is(err, pgpool.ErrPoolExhausted) {
		t.Errorf("cancelled while waiting: %v", err)
	}
	s := p.Stats()
	if s.Exhausted-before != 2 || s.Waiting != 0 {
		t.Errorf("Stats = %+v, want 2 exhausted, 0 waiting", s)
	}
	waiting := make(chan error)
	go func() { _, err := p.Exec(t.Context(), "select 1"); waiting <- err }()
	eventually(t, "one waits", func() bool { return p.Stats().Waiting == 1 })
	close(release)
	if err := <-waiting; err != nil {
		t.Errorf("the one who waited: %v", err)
	}
	wg.Wait()
}

// Everybody in a transaction asks for a second connection.
func TestNestedAcquireDoesNotHang(t *testing.T) {
	t.Parallel()
	const conns = 4
	p := newPool(t, pgpool.Config{MaxConns: conns, ConnectTimeout: 2 * time.Second})
	var inside, wg sync.WaitGroup
	var exhausted atomic.Int64
	inside.Add(conns)
	for range conns {
		wg.Go(func() {
			here := sync.OnceFunc(inside.Done)
			defer here() // nobody waits for one who did not get in
			err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "select 1"); err != nil {
					return err
				}
				here()
				inside.Wait()
				if _, err := p.Exec(ctx, "select 1"); err != nil {
					t.Errorf("joined: %v", err)
				}
				_, err := p.Exec(pgpool.Outside(ctx), "select 1")
				return err
			})
			// The first who gives up frees a connection for the others.
			if errors.Is(err, pgpool.ErrPoolExhausted) {
				exhausted.Add(1)
			} else if err != nil {
				t.Errorf("got %v, want ErrPoolExhausted or nil", err)
			}
		})
	}
	wg.Wait()
	if exhausted.Load() == 0 {
		t.Error("nobody was told that the pool is exhausted")
	}
}

// All idle connections are terminated and used again at once. A write, which
// would not be repeated, gets a connection that was looked at; a read may meet a
// dead one, and is sent again.
func TestDeadIdleConnectionsAreNotUsed(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	p := newPool(t, pgpool.Config{URL: server.URL(), MinConns: 10, IdleTimeout: time.Hour})
	admin := newPool(t, pgpool.Config{URL: server.URL(), MaxConns: 1, AppName: "admin"})
	eventually(t, "ten idle connections", func() bool { return p.Stats().IdleConns >= 10 })
	raw := bare(t, server.URL()+"&application_name=bare&pool_max_conns=10")
	mustExec(t, p, "create table notes (id bigserial primary key)")
	calls := []func() error{
		func() error { _, err := p.Exec(t.Context(), "select 1"); return err },
		func() error {
			_, err := pgpool.Get[int](t.Context(), p, "insert into notes default values returning id")
			return err
		},
		func() error { _, err := pgpool.Get[int](t.Context(), p, "select 1"); return err },
		func() error { var n int; return p.QueryRow(t.Context(), "select 1").Scan(&n) },
	}
	var ours, theirs meter
	for round := range 8 {
		warm(t, raw, 10)
		warm(t, p.Pgx(), 10)
		const sql = "select case when pg_terminate_backend(pid) then pid end from pg_stat_activity where application_name in ($1, 'bare')"
		pids, err := pgpool.Select[uint32](t.Context(), admin, sql, pgpool.DefaultAppName)
		if err != nil || len(pids) == 0 {
			t.Fatal(pids, err)
		}
		// The server may have forgotten them before their farewells arrive.
		eventually(t, "their farewells are here", func() bool { return len(p.Silent(pids)) == 0 })
		for i := range 20 {
			if err := ours.call(calls[(round+i)%len(calls)]); err != nil {
				t.Errorf("call %d: %v", (round+i)%len(calls), err)
			}
			_ = theirs.call(bareExec(t.Context(), raw, "select 1"))
		}
	}
	if n, err := pgpool.Get[int](t.Context(), p, "select count(*) from notes"); n != 8*20/len(calls) || err != nil {
		t.Errorf("%d rows, want %d: %v", n, 8*20/len(calls), err)
	}
	s := p.Stats()
	if s.DeadConns == 0 {
		t.Error("no dead connection was counted")
	}
	t.Logf("%v, %d reads sent again, %d dead connections seen; bare pgxpool: %v", &ours, s.ReadsRetried, s.DeadConns, &theirs)
}

func TestLeakDetection(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	p := newPool(t, pgpool.Config{}, pgpool.WithLeakDetection(300*time.Millisecond), pgpool.WithLogger(log.logger()))
	conn, err := p.Pgx().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, conn, "select 'leaky'")
	eventually(t, "it is reported", func() bool { return strings.Contains(log.String(), "connection held for long") })
	conn.Release()
	eventually(t, "its return is reported", func() bool { return strings.Contains(log.String(), "long-held connection returned") })
	if s := log.String(); !strings.Contains(s, "leaky") || !strings.Contains(s, "acquire_test.go") {
		t.Errorf("statement or place is missing in: %s", s)
	}
}

func TestPasswordOfEachConnection(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	asked := 0
	password := server.Password()
	p := newPool(t, pgpool.Config{
		URL: strings.Replace(server.URL(), password, "expired", 1), MinConns: -1,
	}, pgpool.WithPassword(func(context.Context) (string, error) { asked++; return password, nil }))
	if err := p.Ping(t.Context()); err != nil || asked != 1 {
		t.Errorf("got %v, asked %d times", err, asked)
	}
}

// TestWaitingRoom: many more callers than connections, each with an end of its
// own patience. Nobody waits longer than that, and nobody is forgotten.
func TestWaitingRoom(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 2, ConnectTimeout: 30 * time.Second})
	var served, left atomic.Int64
	var wg sync.WaitGroup
	for c := range 32 {
		wg.Go(func() {
			for i := range 25 {
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if (c+i)%3 == 0 { // some end while they wait, some while they run, some never
					ctx, cancel = context.WithTimeout(ctx, time.Duration(1+(7*c+11*i)%40)*time.Millisecond)
				}
				_, err := p.Exec(ctx, "select pg_sleep(0.001)")
				switch {
				case err == nil:
					served.Add(1)
				case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
					left.Add(1)
				default:
					t.Errorf("caller %d, call %d: %v", c, i, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if s := p.Stats(); s.Waiting != 0 || served.Load()+left.Load() != 32*25 || left.Load() == 0 || served.Load() == 0 {
		t.Errorf("%d served, %d left, Stats = %+v", served.Load(), left.Load(), s)
	}
	t.Logf("%d served, %d left", served.Load(), left.Load())
}
