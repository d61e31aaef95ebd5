package pgpool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// rounds is how often a fault is repeated: PEDRO_ROUNDS, or a few.
func rounds(few int) int {
	if n, err := strconv.Atoi(os.Getenv("PEDRO_ROUNDS")); err == nil {
		return n
	}
	return few
}

// An audit knows which writes were acknowledged.
type audit struct {
	next  atomic.Int64
	mu    sync.Mutex
	acked []int64
}

func (a *audit) ack(id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acked = append(a.acked, id)
}

// check compares the acknowledged writes with the table: what is missing, and
// what is there more than once.
func (a *audit) check(tb testing.TB, q pgpool.Querier) (lost, doubled int) {
	tb.Helper()
	counts := map[int64]int{}
	list, err := pgpool.Select[int64](context.Background(), q, "select id from audit")
	if err != nil {
		tb.Fatal(err)
	}
	for _, id := range list {
		counts[id]++
		if counts[id] == 2 {
			doubled++
		}
	}
	for _, id := range a.acked {
		if counts[id] == 0 {
			lost++
		}
	}
	return lost, doubled
}

func (a *audit) write(ctx context.Context, p *pgpool.Pool, opts ...pgpool.TxOption) error {
	id := a.next.Add(1)
	err := p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into audit (id) values ($1)", id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "update counters set n = n + 1 where id = $1", id%8)
		return err
	}, opts...)
	if err == nil {
		a.ack(id)
	}
	return err
}

const auditTables = "create table audit (id bigint); create table counters (id int primary key, n bigint); insert into counters select i, 0 from generate_series(0, 7) i"

// TestOutagesReachNobody runs 16 readers and 4 transactional writers while the
// server is restarted, crashes, and terminates all connections. PEDRO_ROUNDS=20
// is the long form.
func TestOutagesReachNobody(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	p := newPool(t, pgpool.Config{URL: server.URL(), ConnectTimeout: 30 * time.Second})
	mustExec(t, p, auditTables)
	admin := newPool(t, pgpool.Config{URL: server.URL(), MaxConns: 1, AppName: "admin"})

	var a audit
	var reads, failed, rawReads, rawFailed atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	work := func(f func() error) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f(); err != nil {
					if failed.Add(1) <= 5 {
						t.Errorf("an error reached a caller: %v", err)
					}
				}
			}
		})
	}
	for i := range 16 {
		work(func() error {
			reads.Add(1)
			n, err := pgpool.Get[int](context.Background(), p, "select id from counters where id = $1", i%8)
			if err == nil && n != i%8 {
				return fmt.Errorf("read %d, want %d", n, i%8)
			}
			return err
		})
	}
	for range 4 {
		work(func() error { return a.write(context.Background(), p) })
	}
	raw, err := pgxpool.New(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	wg.Go(func() { // the bare pool beside it
		for {
			select {
			case <-stop:
				return
			default:
			}
			rawReads.Add(1)
			var n int
			if err := raw.QueryRow(context.Background(), "select id from counters where id = 1").Scan(&n); err != nil {
				rawFailed.Add(1)
			}
		}
	})

	faults := []struct {
		name string
		do   func() error
	}{
		{"restart", func() error { return server.Restart(context.Background()) }},
		{"crash", func() error {
			if err := server.Kill(); err != nil {
				return err
			}
			return server.Restart(context.Background())
		}},
		{"terminate", func() error {
			_, err := admin.Exec(context.Background(), "select pg_terminate_backend(pid) from pg_stat_activity where application_name <> 'admin' and backend_type = 'client backend'")
			return err
		}},
	}
	for round := range rounds(2) {
		for _, fault := range faults {
			before := p.Stats().TxCommitted
			if err := fault.do(); err != nil {
				t.Fatalf("round %d: %s: %v", round, fault.name, err)
			}
			eventually(t, "writes go on after "+fault.name, func() bool { return p.Stats().TxCommitted > before+50 })
		}
	}
	close(stop)
	wg.Wait()
	lost, doubled := a.check(t, p)
	s := p.Stats()
	t.Logf("%d rounds of 3 faults: %d reads, %d commits, %d errors; %d reads and %d transactions repeated, %d commits resolved, %d unknown, %d dead connections found; bare pgxpool: %d of %d reads failed",
		rounds(2), reads.Load(), len(a.acked), failed.Load(), s.ReadsRetried, s.TxRetried, s.CommitsResolved, s.CommitsUnknown, s.DeadConns, rawFailed.Load(), rawReads.Load())
	if failed.Load() != 0 || lost != 0 || doubled != 0 {
		t.Errorf("%d errors, %d writes lost, %d doubled, want none", failed.Load(), lost, doubled)
	}
	if sum, _ := pgpool.Get[int64](t.Context(), p, "select sum(n)::bigint from counters"); sum != int64(len(a.acked)) {
		t.Errorf("counters say %d, want %d", sum, len(a.acked))
	}
}

// TestOutageLongerThanPatience gives every caller one clear error in time.
func TestOutageLongerThanPatience(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	p := newPool(t, pgpool.Config{URL: server.URL(), ConnectTimeout: 300 * time.Millisecond})
	raw := bare(t, server.URL())
	warm(t, raw, 1)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	var ours, theirs meter
	for name, call := range map[string]func() error{
		"Exec": func() error { _, err := p.Exec(t.Context(), "select 1"); return err },
		"Get":  func() error { _, err := pgpool.Get[int](t.Context(), p, "select 1"); return err },
		"InTx": func() error { return p.InTx(t.Context(), func(context.Context, pgx.Tx) error { return nil }) },
		"Ping": func() error { return p.Ping(t.Context()) },
	} {
		start := time.Now()
		err := ours.call(call)
		if took := time.Since(start); !errors.Is(err, pgpool.ErrUnavailable) || took > 5*time.Second {
			t.Errorf("%s = %v after %v, want ErrUnavailable in time", name, err, took)
		}
		_ = theirs.call(bareExec(t.Context(), raw, "select 1"))
	}
	if s := p.Stats(); s.Healthy {
		t.Error("Stats say healthy while the server is down")
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	ours.heal()
	theirs.heal()
	eventually(t, "queries after its return", func() bool {
		_ = theirs.call(bareExec(t.Context(), raw, "select 1"))
		return ours.call(func() error { _, err := p.Exec(t.Context(), "select 1"); return err }) == nil
	})
	t.Logf("%v; bare pgxpool: %v", &ours, &theirs)
}

// pause between faults, drawn so that they hit every phase.
func jitter(upTo time.Duration) time.Duration { return rand.N(upTo) }

// TestStopWhileServerIsSilent shows that a server that ceased to answer does
// not hold up the stop: what ran meanwhile has its time limit, and nobody waits
// for the farewell of a connection.
func TestStopWhileServerIsSilent(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	proxy := faultproxy.Start(t, server.Addr())
	p, err := pgpool.New(pgpool.Config{URL: proxy.URL(server.URL()), QueryTimeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := pgpool.Transaction(t.Context(), p, func(ctx context.Context, tx pgx.Tx) (struct{}, error) {
			if _, err := tx.Exec(ctx, "select 1"); err != nil {
				return struct{}{}, err
			}
			close(begun)
			_, err := tx.Exec(ctx, "select pg_sleep(30)")
			return struct{}{}, err
		})
		if err == nil {
			t.Error("the transaction succeeded without its server")
		}
	})
	<-begun
	raw := bare(t, proxy.URL(server.URL()))
	conn, err := raw.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		_, _ = conn.Exec(t.Context(), "select pg_sleep(30)")
		conn.Release()
	})
	proxy.Blackhole()
	closed := make(chan struct{})
	wg.Go(func() {
		raw.Close()
		close(closed)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	if err := p.Stop(ctx); err != nil {
		t.Errorf("Stop = %v, want nil: nobody holds a connection", err)
	}
	took := time.Since(began)
	if took > 8*time.Second {
		t.Errorf("Stop took %v, want the query's timeout and about a second", took)
	}
	select {
	case <-closed:
		t.Logf("Stop took %v; Close of a bare pgxpool less", took)
	default:
		t.Logf("Stop took %v; Close of a bare pgxpool was still waiting then, and went on until the connection was cut", took)
	}
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	proxy.Reset()
	wg.Wait()
}
