package interop_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/examples/interop"
	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// TestRiver: a job is there if and only if the transaction that it was made in
// stands, once, also if the reply to COMMIT is lost; and the worker stops with
// its group.
func TestRiver(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := pgpooltest.StartServer(t)
	proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
	pool := openPool(t, pgpool.Config{URL: proxy.URL(server.URL())})
	if _, err := interop.Migrate(ctx, pool); err != nil {
		t.Fatal(err)
	}
	if err := interop.MigrateJobs(ctx, pool); err != nil {
		t.Fatal(err)
	}
	sent := make(chan int64, 100)
	jobs, err := interop.Jobs(pool, quiet, func(_ context.Context, patient int64) error { sent <- patient; return nil })
	if err != nil {
		t.Fatal(err)
	}

	var cut atomic.Bool
	proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if m.Completes("COMMIT") && cut.CompareAndSwap(true, false) {
			return faultproxy.Cut
		}
		return faultproxy.Pass
	})
	var want []int64
	for _, name := range []string{"Anna", "Bert", "Cara"} {
		cut.Store(name == "Bert")
		id, err := interop.AdmitAndRemind(ctx, pool, jobs, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want = append(want, id)
	}
	no := errors.New("no")
	err = pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := interop.AdmitAndRemind(ctx, pool, jobs, "Nobody"); err != nil { // a savepoint of this one
			return err
		}
		if _, err := jobs.InsertTx(ctx, tx, interop.Reminder{Patient: -1}, nil); err != nil {
			return err
		}
		return no
	})
	if !errors.Is(err, no) {
		t.Fatalf("got %v, want the function's error", err)
	}

	g := group(t)
	g.Add("jobs", interop.JobsComponent(jobs))
	if err := g.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var got []int64
	for range want {
		select {
		case id := <-sent:
			got = append(got, id)
		case <-time.After(30 * time.Second):
			t.Fatalf("only %v were reminded within 30s, want %v", got, want)
		}
	}
	if err := g.Stop(context.Background()); err != nil {
		t.Errorf("the stop: %v", err)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) || len(sent) != 0 {
		t.Errorf("%v were reminded and %d more, want %v, each once", got, len(sent), want)
	}
	if n, err := pgpool.Get[int](ctx, pool, "select count(*) from river_job"); err != nil || n != len(want) {
		t.Errorf("%d jobs, %v, want %d", n, err, len(want))
	}
}

// TestRiverStops: a job at work when the group stops is finished first.
func TestRiverStops(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := openPool(t, pgpool.Config{URL: database(t)})
	if err := interop.MigrateJobs(ctx, pool); err != nil {
		t.Fatal(err)
	}
	working, release := make(chan struct{}), make(chan struct{})
	var finished atomic.Bool
	jobs, err := interop.Jobs(pool, quiet, func(ctx context.Context, _ int64) error {
		close(working)
		select {
		case <-release:
			finished.Store(true)
			return nil
		case <-ctx.Done(): // what Start's own context would do
			return ctx.Err()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	starting, started := context.WithCancel(ctx)
	g := group(t)
	g.Add("jobs", interop.JobsComponent(jobs))
	if err := g.Start(starting); err != nil {
		t.Fatal(err)
	}
	started() // the end of this context must not end the jobs
	if _, err := interop.AdmitAndRemind(ctx, pool, jobs, "Anna"); err != nil {
		t.Fatal(err)
	}
	<-working
	stopped := make(chan error, 1)
	go func() { stopped <- g.Stop(context.Background()) }()
	for g.State() < lifecycle.StateStopping {
		time.Sleep(time.Millisecond)
	}
	close(release)
	if err := <-stopped; err != nil || !finished.Load() {
		t.Errorf("the stop: %v; the job finished: %v, want it to", err, finished.Load())
	}
}

func group(t *testing.T, opts ...lifecycle.Option) *lifecycle.Group {
	t.Helper()
	g, err := lifecycle.New(lifecycle.Config{}, append(opts, lifecycle.WithLogger(quiet))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Stop(context.Background()) })
	return g
}
