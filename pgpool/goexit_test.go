package pgpool_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// exits reports whether f ends its goroutine, as t.Fatal does.
func exits(f func()) bool {
	exited := true
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
		exited = false
	}()
	<-done
	return exited
}

// TestGoexitInSource: what ends the goroutine on which rows are asked for ends the
// caller's, which does not wait for ever. Nothing is stored.
func TestGoexitInSource(t *testing.T) {
	t.Parallel()
	sequence := func(after int) func(func(idRow) bool) {
		return func(yield func(idRow) bool) {
			for i := range after {
				yield(idRow{i})
			}
			runtime.Goexit()
		}
	}
	for name, run := range map[string]func(ctx context.Context, q pgpool.Querier){
		"progress": func(ctx context.Context, q pgpool.Querier) {
			_, _ = pgpool.BatchInsert(ctx, q, "t", numbered(50_000), pgpool.WithProgress(func(int, int) { runtime.Goexit() }))
		},
		"sequence, early": func(ctx context.Context, q pgpool.Querier) { _, _ = pgpool.BatchInsertSeq(ctx, q, "t", sequence(1)) },
		"sequence, late":  func(ctx context.Context, q pgpool.Querier) { _, _ = pgpool.BatchInsertSeq(ctx, q, "t", sequence(100)) },
		"CopyFrom": func(ctx context.Context, q pgpool.Querier) {
			_, _ = q.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"id"}, pgx.CopyFromFunc(func() ([]any, error) { runtime.Goexit(); return nil, nil }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, pgpool.Config{MaxConns: 2, MinConns: -1})
			mustExec(t, p, "create table t (id int)")
			if !exits(func() { run(t.Context(), p) }) {
				t.Error("by the pool: the caller's goroutine goes on")
			}
			if !exits(func() {
				_ = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error { run(ctx, tx); return nil })
			}) {
				t.Error("in a transaction: the caller's goroutine goes on")
			}
			eventually(t, "the connections come back", func() bool { return p.Stats().AcquiredConns == 0 })
			if n := count(t, p, "t"); n != 0 {
				t.Errorf("%d rows are stored", n)
			}
		})
	}
}

// TestConnectHooksThatDoNotReturn: a hook that panics or ends its goroutine fails
// the attempt, and takes no place in the pool.
func TestConnectHooksThatDoNotReturn(t *testing.T) {
	t.Parallel()
	url := pgpooltest.Start(t)
	for ending, end := range map[string]func(){"panicked: boom": func() { panic("boom") }, "ended its goroutine": runtime.Goexit} {
		for name, hook := range map[string]pgpool.Option{
			"WithPassword":      pgpool.WithPassword(func(context.Context) (string, error) { end(); return "", nil }),
			"WithBeforeConnect": pgpool.WithBeforeConnect(func(context.Context, *pgx.ConnConfig) error { end(); return nil }),
			"WithAfterConnect":  pgpool.WithAfterConnect(func(context.Context, *pgx.Conn) error { end(); return nil }),
		} {
			t.Run(name+" "+ending, func(t *testing.T) {
				t.Parallel()
				p, err := pgpool.New(pgpool.Config{URL: url, MaxConns: 1, MinConns: -1, ConnectTimeout: 300 * time.Millisecond}, hook)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = p.Stop(context.Background()) })
				for range 2 {
					if _, err := p.Exec(t.Context(), "select 1"); err == nil || !strings.Contains(err.Error(), "the function of "+name+" "+ending) {
						t.Errorf("got %v, want it to name the hook", err)
					}
				}
				eventually(t, "no place is taken", func() bool { s := p.Stats(); return s.ConstructingConns+s.TotalConns == 0 })
			})
		}
	}
}

// TestConnectHookThatFailsThenHangs: who waits for a connection is told of the last
// failure, also while the next attempt is under way.
func TestConnectHookThatFailsThenHangs(t *testing.T) {
	t.Parallel()
	url := pgpooltest.Start(t)
	for name, option := range map[string]func(hook func() error) pgpool.Option{
		"WithBeforeConnect": func(hook func() error) pgpool.Option {
			return pgpool.WithBeforeConnect(func(context.Context, *pgx.ConnConfig) error { return hook() })
		},
		"WithAfterConnect": func(hook func() error) pgpool.Option {
			return pgpool.WithAfterConnect(func(context.Context, *pgx.Conn) error { return hook() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			release := make(chan struct{})
			p, err := pgpool.New(pgpool.Config{URL: url, MaxConns: 1, MinConns: -1, ConnectTimeout: 300 * time.Millisecond}, option(func() error {
				if calls.Add(1) > 1 {
					<-release
				}
				return errors.New("not today")
			}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Stop(context.Background()) })
			t.Cleanup(func() { close(release) })
			if _, err := p.Exec(t.Context(), "select 1"); err == nil || !strings.Contains(err.Error(), "not today") {
				t.Errorf("got %v, want it to name the last failure", err)
			}
		})
	}
}
