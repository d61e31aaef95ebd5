package pgpool_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

// A badSource does what it is told when it is asked.
type badSource struct{ next, values, err func() }

func (s badSource) Next() bool             { s.next(); return true }
func (s badSource) Values() ([]any, error) { s.values(); return []any{1}, nil }
func (s badSource) Err() error             { s.err(); return nil }

// eachQuerier runs f with a pool, a transaction and a savepoint.
func eachQuerier(t *testing.T, p *pgpool.Pool, f func(by string, q pgpool.Querier)) {
	t.Helper()
	f("pool", p)
	_ = p.InTx(t.Context(), func(_ context.Context, tx pgx.Tx) error {
		f("transaction", tx)
		return errRollback
	})
	_ = p.InTx(t.Context(), func(ctx context.Context, _ pgx.Tx) error {
		return p.InTx(ctx, func(_ context.Context, tx pgx.Tx) error {
			f("savepoint", tx)
			return errRollback
		})
	})
}

// TestCopyFromSourcePanics: wherever a source panics, it is the caller who hears
// of it.
func TestCopyFromSourcePanics(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	fine, boom := func() {}, func() { panic("boom") }
	for where, source := range map[string]pgx.CopyFromSource{
		"Next": badSource{boom, fine, fine}, "Values": badSource{fine, boom, fine},
		"Err": pgx.CopyFromSource(&errSource{badSource{fine, fine, boom}, 0}),
	} {
		eachQuerier(t, p, func(by string, q pgpool.Querier) {
			v := recovered(func() { _, _ = q.CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"id"}, source) })
			if v != "boom" {
				t.Errorf("%s, %s: recovered %v, want boom", where, by, v)
			}
		})
	}
	if list := ids(t, p); len(list) != 0 || p.Stats().AcquiredConns != 0 {
		t.Errorf("rows %v, %d connections held", list, p.Stats().AcquiredConns)
	}
}

// An errSource has one row.
type errSource struct {
	badSource

	asked int
}

func (s *errSource) Next() bool { s.asked++; return s.asked == 1 }

// TestCopyFromSourceFails: the source's error is in that of CopyFrom, beside the
// server's.
func TestCopyFromSourceFails(t *testing.T) {
	t.Parallel()
	p := newTable(t)
	for name, source := range map[string]pgx.CopyFromSource{
		"slice": pgx.CopyFromSlice(3, func(int) ([]any, error) { return nil, errMine }),
		"func":  pgx.CopyFromFunc(func() ([]any, error) { return nil, errMine }),
	} {
		eachQuerier(t, p, func(by string, q pgpool.Querier) {
			_, err := q.CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"id"}, source)
			if !errors.Is(err, errMine) || pgpool.Code(err) != "57014" {
				t.Errorf("%s, %s: got %v, want the source's error and 57014", name, by, err)
			}
		})
	}
	eachQuerier(t, p, func(by string, q pgpool.Querier) {
		if _, err := q.CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"id"}, nil); err == nil {
			t.Errorf("nil, %s: no error", by)
		}
	})
}
