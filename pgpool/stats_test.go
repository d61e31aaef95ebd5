package pgpool_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

// A syncBuffer is a log that can be read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *syncBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func TestSlowQueries(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	var mu sync.Mutex
	var got []pgpool.SlowQuery
	p := newPool(t, pgpool.Config{SlowQuery: 30 * time.Millisecond}, pgpool.WithLogger(log.logger()), pgpool.WithSlowQuery(func(q pgpool.SlowQuery) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, q)
	}))
	if _, err := p.Exec(t.Context(), "select pg_sleep($1), $2::text, $3::bigint", 0.2, "s3cret", nil); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 2 || !got[0].Running || got[1].Running || !got[1].Reported || got[1].Took < 200*time.Millisecond {
		t.Fatalf("got %+v, want it reported while it ran and at its end", got)
	}
	if args := strings.Join(got[1].Args, " "); args != "float64 string(6) nil" {
		t.Errorf("args are shown as %q", args)
	}
	if s := log.String(); strings.Contains(s, "s3cret") || !strings.Contains(s, "slow query still running") || !strings.Contains(s, "pg_sleep") {
		t.Errorf("log: %s", s)
	}
	if s := p.Stats(); s.SlowQueries != 1 {
		t.Errorf("SlowQueries = %d, want 1", s.SlowQueries)
	}
}

func TestStatsCount(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	before := p.Stats()
	for range 100 {
		mustExec(t, p, "select 1")
	}
	mustExec(t, p.Pgx(), "select 1") // what goes by the pool below counts too
	mustExec(t, p, "insert into t values (1)")
	_ = insert(t.Context(), p, 1)
	_, _ = p.Exec(t.Context(), "nonsense")
	_, _ = p.Exec(t.Context(), "set transaction read only; insert into t values (7)")
	after := p.Stats()
	if n := after.QueryCount - before.QueryCount; n != 105 {
		t.Errorf("QueryCount grew by %d, want 105", n)
	}
	if after.Errors.Constraint != 1 || after.Errors.Syntax != 1 || after.Errors.ReadOnly != 1 {
		t.Errorf("Errors = %+v", after.Errors)
	}
	if after.P50 <= 0 || after.P99 < after.P50 || after.Addr == "" || after.Name != "primary" {
		t.Errorf("Stats = %+v", after)
	}
}

func TestLongRunning(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	mustExec(t, p, "insert into t values (1)")
	locked, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "update t set n = 1")
			close(locked)
			<-release
			return err
		})
	})
	<-locked
	wg.Go(func() { _, _ = p.Exec(t.Context(), "update t set n = 2") })
	var list []pgpool.RunningQuery
	eventually(t, "the blocked update is listed", func() bool {
		var err error
		if list, err = p.LongRunning(t.Context(), 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		for _, q := range list {
			if q.SQL == "update t set n = 2" && len(q.BlockedBy) == 1 && strings.HasPrefix(q.WaitEvent, "Lock/") && q.State == "active" && q.Duration > 0 {
				return true
			}
		}
		return false
	})
	close(release)
	wg.Wait()
}

type countingTracer struct{ starts, acquires sync.Map }

func (c *countingTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	c.starts.Store(data.SQL, true)
	return context.WithValue(ctx, c, data.SQL)
}

func (c *countingTracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	c.acquires.Store(ctx.Value(c), true) // the context of the start
}

func TestTracer(t *testing.T) {
	t.Parallel()
	tracer := &countingTracer{}
	p := newPool(t, pgpool.Config{}, pgpool.WithTracer(tracer))
	mustExec(t, p, "select 'traced'")
	if _, ok := tracer.starts.Load("select 'traced'"); !ok {
		t.Error("the start was not traced")
	}
	if _, ok := tracer.acquires.Load("select 'traced'"); !ok {
		t.Error("the end was not traced with the context of the start")
	}
}
