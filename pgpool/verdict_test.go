package pgpool_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// TestReturnedConflictIsRetried: a conflict counts by what the function
// returns, also if it met it elsewhere.
func TestReturnedConflictIsRetried(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{URL: pgpooltest.Start(t)})
	for code, want := range map[string]int{"40001": 2, "40P01": 2, "23505": 1} {
		runs := 0
		err := p.InTx(t.Context(), func(context.Context, pgx.Tx) error {
			if runs++; runs == 1 {
				return fmt.Errorf("elsewhere: %w", &pgconn.PgError{Severity: "ERROR", Code: code})
			}
			return nil
		})
		if runs != want || (err == nil) != (want == 2) {
			t.Errorf("%s: %d runs and %v, want %d runs", code, runs, err, want)
		}
	}
}

// TestReadOnlyCommitIsNotLookedFor: what wrote nothing is run again instead.
func TestReadOnlyCommitIsNotLookedFor(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
	p := newPool(t, pgpool.Config{URL: proxy.URL(server.URL())})
	var cut atomic.Bool
	proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if m.Completes("COMMIT") && cut.CompareAndSwap(false, true) {
			return faultproxy.Cut
		}
		return faultproxy.Pass
	})
	runs := 0
	one, err := pgpool.Transaction(t.Context(), p, func(ctx context.Context, tx pgx.Tx) (int, error) {
		runs++
		return pgpool.Get[int](ctx, tx, "select 1")
	}, pgpool.ReadOnly())
	if one != 1 || err != nil || runs != 2 {
		t.Errorf("got %d, %v after %d runs, want 1 after 2", one, err, runs)
	}
	if s := p.Stats(); s.CommitsResolved != 0 {
		t.Errorf("%d commits looked for, want none", s.CommitsResolved)
	}
}
