package pgpool_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// TestQueryTimeoutKeepsConnection: the watchdog's deadline is not for what
// comes next.
func TestQueryTimeoutKeepsConnection(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{QueryTimeout: 300 * time.Millisecond, MaxConns: 1, MinConns: 1})
	mustExec(t, p, "create table t (id int)")
	_, err := p.Exec(t.Context(), "select pg_sleep(2)")
	if !errors.Is(err, pgpool.ErrQueryTimeout) {
		t.Fatal(err)
	}
	opened := p.Stats().Opened
	begin := time.Now()
	for i := 0; time.Since(begin) < 2*time.Second; i++ {
		if _, err := p.Exec(t.Context(), "with s as (select pg_sleep(0.05)) insert into t select 1 from s"); err != nil {
			t.Errorf("statement %d, %v after: %v", i, time.Since(begin), err)
		}
	}
	if n := p.Stats().Opened; n != opened {
		t.Errorf("%d connections opened, want %d: the connection lives on", n, opened)
	}
}

// TestStartWhileDialing: the server answers aside from the pool, whose only
// place is taken by a connection that is being made.
func TestStartWhileDialing(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	release := make(chan struct{})
	url := pgpooltest.Start(t)
	p, err := pgpool.New(pgpool.Config{URL: url, MaxConns: 1, MinConns: 1, ConnectTimeout: 500 * time.Millisecond},
		pgpool.WithBeforeConnect(func(ctx context.Context, cfg *pgx.ConnConfig) error {
			if calls.Add(1) == 1 { // the first connection takes long
				<-release
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(context.Background()) }()
	defer close(release)
	go func() { _, _ = p.Exec(context.Background(), "select 1") }()
	for calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Errorf("Start: %v", err)
	}
}

// TestStopRefusesAtOnce: even while a check of a replica hangs.
func TestStopRefusesAtOnce(t *testing.T) {
	t.Parallel()
	primary := pgpooltest.StartServer(t)
	replica := pgpooltest.StartServer(t)
	p, err := pgpool.New(pgpool.Config{URL: primary.URL(), ReplicaURLs: []string{replica.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "replica in use", func() bool { return p.Stats().Replicas[0].Healthy })
	if err := replica.Pause(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1200 * time.Millisecond) // a check of the replica hangs
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- p.Stop(context.Background()) }()
	time.Sleep(100 * time.Millisecond)
	var last time.Duration
	for time.Since(began) < 3*time.Second {
		if _, err := p.Exec(t.Context(), "select 1"); !errors.Is(err, pgpool.ErrClosed) {
			last = time.Since(began)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := <-done; err != nil {
		t.Errorf("Stop: %v", err)
	}
	if last > 0 {
		t.Errorf("new work was taken until %v after Stop was called", last)
	}
	_ = replica.Resume()
}

// TestReadOnlyByWish: a write in a read-only transaction is a mistake of its
// caller, and no sign of a server that was demoted.
func TestReadOnlyByWish(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 4, MinConns: 4})
	mustExec(t, p, "create table t (id int)")
	opened := p.Stats().Opened
	for range 5 {
		tx, err := p.Pgx().BeginTx(t.Context(), pgx.TxOptions{AccessMode: pgx.ReadOnly})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = tx.Exec(t.Context(), "insert into t values (1)")
		_ = tx.Rollback(t.Context())
		time.Sleep(200 * time.Millisecond)
	}
	if n := p.Stats().Opened - opened; n > 0 {
		t.Errorf("a caller's mistake closed the pool's connections: %d opened anew", n)
	}
}

// TestCauseAndErr: an error of a context matches its Err, whatever its Cause
// is.
func TestCauseAndErr(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 1})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt signal received"))
	_, err := p.Exec(ctx, "select 1")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Exec: %v does not match context.Canceled", err)
	}
	err = p.Ping(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Ping: %v does not match context.Canceled", err)
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	err = p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "select 1")
		cancel(errors.New("interrupt signal received"))
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("InTx: %v does not match context.Canceled", err)
	}
	rows, err := p.Query(t.Context(), "select 1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	ctx3, cancel3 := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("too slow"))
	defer cancel3()
	_, err = p.Exec(ctx3, "select 1")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: %v does not match context.DeadlineExceeded", err)
	}
}

// TestNestedHiddenError: a nested transaction that failed is rolled back, and
// the outer one goes on.
func TestNestedHiddenError(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create table t (id int primary key)")
	err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into t values (1)"); err != nil {
			return err
		}
		nested := p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			_, _ = tx.Exec(ctx, "insert into t values (1)") // hidden
			return nil
		})
		if nested == nil {
			t.Error("nested succeeded")
		}
		_, err := tx.Exec(ctx, "insert into t values (2)")
		return err
	})
	if err != nil {
		t.Errorf("the savepoint failed and was reported, but was not rolled back: %v", err)
	}
}

// TestSavepointInFailed: one that was begun after an error does not hinder the
// rollback of the one around it.
func TestSavepointInFailed(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create table t (id int primary key)")
	err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		sp1, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		_, _ = sp1.Exec(ctx, "insert into t values (1), (1)")
		_, _ = sp1.Begin(ctx) // only noted
		if err := sp1.Rollback(ctx); err != nil {
			t.Errorf("Rollback to a savepoint: %v", err)
		}
		_, err = tx.Exec(ctx, "insert into t values (2)")
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

type outerBase struct {
	ID   int
	Name string
}

// TestOuterFieldWins: as in Go, whichever comes first.
func TestOuterFieldWins(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	type row struct {
		outerBase

		ID int
	}
	r, err := pgpool.Get[row](t.Context(), p, "select 7 as id, 'x' as name")
	if err != nil || r.ID != 7 {
		t.Errorf("r.ID = %d, r.outerBase.ID = %d, %v; the outer field wins in Go", r.ID, r.outerBase.ID, err)
	}
}

// TestEmptyResultHasColumns: before and after Next, as with pgx.
func TestEmptyResultHasColumns(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	for name, q := range map[string]pgpool.Querier{"pgx": p.Pgx(), "pool": p} {
		rows, err := q.Query(t.Context(), "select 1 as a, 2 as b where false")
		if err != nil {
			t.Fatal(err)
		}
		before := len(rows.FieldDescriptions())
		rows.Next()
		after := len(rows.FieldDescriptions())
		rows.Close()
		if before != 2 || after != 2 {
			t.Errorf("%s: %d columns before Next, %d after, want 2", name, before, after)
		}
	}
}

// TestRowsOfFailedQuery: nothing of them panics.
func TestRowsOfFailedQuery(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	rows, err := p.Query(t.Context(), "no sql")
	if err == nil || rows.RawValues() != nil || rows.Conn() != nil || rows.FieldDescriptions() != nil {
		t.Errorf("got %v, and rows with something in them", err)
	}
}

// TestRawDBConn: the way from database/sql to pgx.
func TestRawDBConn(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	db := p.DB()
	defer db.Close()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.Raw(func(dc any) error {
		if _, ok := dc.(interface{ Conn() *pgx.Conn }); !ok {
			t.Errorf("no way from %T to the *pgx.Conn", dc)
		}
		return nil
	})
}
