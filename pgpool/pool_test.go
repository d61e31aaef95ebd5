package pgpool_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

func TestLifecycle(t *testing.T) {
	t.Parallel()
	p, err := pgpool.New(pgpool.Config{URL: pgpooltest.Start(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	s := p.Stats()
	if s.MaxConns != pgpool.DefaultMaxConns || s.TotalConns < 1 || s.PoolMode != pgpool.PoolModeDirect || !s.Healthy {
		t.Errorf("Stats = %+v", s)
	}
	for range 2 {
		if err := p.Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v, want nil", err)
		}
	}
	if _, err := p.Exec(t.Context(), "select 1"); !errors.Is(err, pgpool.ErrClosed) {
		t.Errorf("Exec after Stop = %v, want ErrClosed", err)
	}
	if err := p.Start(t.Context()); !errors.Is(err, pgpool.ErrClosed) {
		t.Errorf("Start after Stop = %v, want ErrClosed", err)
	}
}

func TestStopWithoutStart(t *testing.T) {
	t.Parallel()
	p, err := pgpool.New(pgpool.Config{URL: "postgres://u:p@127.0.0.1:1/db"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNewDialsNothing(t *testing.T) {
	t.Parallel()
	p, err := pgpool.New(pgpool.Config{URL: "postgres://u:p@127.0.0.1:1/db"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(t.Context())
	// pgxpool begins at once to open MinConns on its own goroutine.
	eventually(t, "pgxpool has tried", func() bool { return p.Pgx().Stat().NewConnsCount() >= int64(pgpool.DefaultMinConns) })
	if s := p.Stats(); s.Opened != 0 || s.Errors.Connection != 0 {
		t.Errorf("Stats = %+v, want no connection attempt", s)
	}
}

func TestUseWithoutStart(t *testing.T) {
	t.Parallel()
	p, err := pgpool.New(pgpool.Config{URL: pgpooltest.Start(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(t.Context())
	if got, err := pgpool.Get[int](t.Context(), p, "select 1"); err != nil || got != 1 {
		t.Errorf("Get = %d, %v", got, err)
	}
}

func TestStartFailsFastOnWrongDatabase(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(pgpooltest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path += "_absent"
	p, err := pgpool.New(pgpool.Config{URL: u.String()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(t.Context())
	err = p.Start(t.Context()) // no deadline: must return by itself
	if !errors.Is(err, pgpool.ErrUnavailable) || pgpool.Code(err) != "3D000" {
		t.Errorf("Start = %v, want ErrUnavailable with 3D000", err)
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	p, err := pgpool.New(pgpool.Config{URL: "postgres://u:s3cret@127.0.0.1:1/db"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err = p.Start(ctx)
	if !errors.Is(err, pgpool.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("Start = %v, want ErrUnavailable and DeadlineExceeded, and no password", err)
	}
}

func TestStopNamesHolders(t *testing.T) {
	t.Parallel()
	p, err := pgpool.New(pgpool.Config{URL: pgpooltest.Start(t)}, pgpool.WithLeakDetection(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := p.Exec(context.Background(), "select pg_sleep(30)")
		if err == nil {
			t.Error("the query went on after Stop")
		}
	})
	eventually(t, "the query runs", func() bool { return p.Stats().AcquiredConns == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = p.Stop(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "pg_sleep(30)") || !strings.Contains(err.Error(), "pool_test.go") {
		t.Errorf("Stop = %v, want the statement and its place", err)
	}
	wg.Wait() // it was cut off
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("second Stop = %v, want nil", err)
	}
}

func TestGetAndSelect(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create table patients (id bigint primary key, full_name text not null, born date, tags text[], extra jsonb)",
		"insert into patients values (1, 'Ada', '1815-12-10', '{a,b}', '{\"k\": 1}'), (2, 'Bob', null, null, null)")
	type Base struct{ ID int64 }
	type patient struct {
		Base

		Name  string `db:"full_name"`
		Born  *time.Time
		Tags  []string
		Extra map[string]int
		Other int    `db:"-"`
		Unset string // no column
	}
	const sql = "select id, full_name, born, tags, extra from patients where id >= $1 order by id"
	for range 2 { // the second time from the cache
		all, err := pgpool.Select[patient](t.Context(), p, sql, 1)
		if err != nil || len(all) != 2 {
			t.Fatalf("Select = %v, %v", all, err)
		}
		if a := all[0]; a.ID != 1 || a.Name != "Ada" || a.Born.Year() != 1815 || len(a.Tags) != 2 || a.Extra["k"] != 1 {
			t.Errorf("first row = %+v", a)
		}
		if b := all[1]; b.ID != 2 || b.Born != nil || b.Tags != nil || b.Extra != nil {
			t.Errorf("second row = %+v, want nothing of the first", b)
		}
	}
	one, err := pgpool.Get[patient](t.Context(), p, "select id, full_name from patients where id = $1", 2)
	if err != nil || one.Name != "Bob" {
		t.Errorf("Get = %+v, %v", one, err)
	}
	if _, err := pgpool.Get[patient](t.Context(), p, "select id, full_name from patients where id = 3"); !errors.Is(err, pgpool.ErrNotFound) || !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("Get of nothing = %v, want ErrNotFound", err)
	}
	if _, err := pgpool.Get[int64](t.Context(), p, "select id from patients"); !errors.Is(err, pgpool.ErrTooManyRows) {
		t.Errorf("Get of two = %v, want ErrTooManyRows", err)
	}
	if none, err := pgpool.Select[string](t.Context(), p, "select full_name from patients where false"); err != nil || none == nil || len(none) != 0 {
		t.Errorf("Select of nothing = %v, %v, want an empty slice", none, err)
	}
	if born, err := pgpool.Select[*time.Time](t.Context(), p, "select born from patients order by id"); err != nil || born[1] != nil {
		t.Errorf("Select of dates = %v, %v", born, err)
	}
	if extra, err := pgpool.Get[struct{ K int }](t.Context(), p, "select extra from patients where id = 1"); err != nil || extra.K != 1 {
		t.Errorf("Get from JSON = %v, %v", extra, err)
	}
	if _, err := pgpool.Get[patient](t.Context(), p, "select id, full_name, 1 as surprise from patients where id = 1"); err == nil || !strings.Contains(err.Error(), `"surprise"`) {
		t.Errorf("unknown column = %v, want it named", err)
	}
	if _, err := pgpool.Get[patient](t.Context(), p, "select id, 1 as id from patients where id = 1"); err == nil || !strings.Contains(err.Error(), "two columns") {
		t.Errorf("doubled column = %v, want it named", err)
	}
	if _, err := pgpool.Get[string](t.Context(), p, "select nonsense"); pgpool.Code(err) != "42703" {
		t.Errorf("wrong SQL = %v, want 42703", err)
	}
}

func TestQueryRows(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	rows, err := p.Query(t.Context(), "select generate_series(1, 3)")
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil || len(got) != 3 || got[0] != 1 {
		t.Errorf("got %v, %v, want 1 2 3", got, err)
	}
	if err := p.QueryRow(t.Context(), "select 1 where false").Scan(new(int)); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("QueryRow = %v, want pgx.ErrNoRows", err)
	}
	if err := p.QueryRow(t.Context(), "select 1/0").Scan(new(int)); pgpool.Code(err) != "22012" {
		t.Errorf("QueryRow = %v, want 22012", err)
	}
	rows, err = p.Query(t.Context(), "select 1/0")
	rows.Close()
	if pgpool.Code(err) != "22012" || pgpool.Code(rows.Err()) != "22012" {
		t.Errorf("Query = %v, want 22012", err)
	}
	var b pgx.Batch
	b.Queue("select 1")
	b.Queue("select 2")
	res := p.SendBatch(t.Context(), &b)
	var n int
	if err := errors.Join(res.QueryRow().Scan(&n), res.QueryRow().Scan(&n), res.Close()); err != nil || n != 2 {
		t.Errorf("batch: %d, %v", n, err)
	}
	if s := p.Stats(); s.AcquiredConns != 0 || s.QueryCount == 0 {
		t.Errorf("Stats = %+v, want nothing in use", s)
	}
}
