package pgpool_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
)

// TestCommitIsPreparedOnce: a connection's first transaction prepares COMMIT, on
// the way, and all use it.
func TestCommitIsPreparedOnce(t *testing.T) {
	t.Parallel()
	p, proxy := proxied(t)
	mustExec(t, p, "create table t (id int)")
	var mu sync.Mutex
	var prepared, executed, simple, syncs int
	proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case m.Dir == faultproxy.ToServer && m.Type == 'P' && m.SQL == "commit":
			prepared++
		case m.Executes("commit") && m.Type == 'E':
			executed++
		case m.Executes("commit"):
			simple++
		case m.Dir == faultproxy.ToServer && m.Type == 'S':
			syncs++
		}
		return faultproxy.Pass
	})
	insert := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into t values ($1)", pgx.QueryExecModeExec, 1)
		return err
	}
	for range 3 {
		if err := p.InTx(t.Context(), insert); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if prepared != 1 || executed != 3 || simple != 0 || syncs != 6 {
		t.Errorf("COMMIT was prepared %d times and executed %d times, %d times as text, in %d round trips; want 1, 3, 0, 6", prepared, executed, simple, syncs)
	}
}

// TestDeallocateWithinTransaction: who removes all prepared statements removes COMMIT
// too. The transaction is run again, and from then on COMMIT is not prepared.
func TestDeallocateWithinTransaction(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 1})
	mustExec(t, p, "create table t (id int)")
	for i := range 3 {
		err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "insert into t values ($1)", pgx.QueryExecModeExec, i); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "deallocate all")
			return err
		})
		if err != nil {
			t.Fatalf("transaction %d: %v", i, err)
		}
	}
	ids, err := pgpool.Select[int](t.Context(), p, "select id from t order by id", pgx.QueryExecModeExec)
	if err != nil || !slices.Equal(ids, []int{0, 1, 2}) {
		t.Errorf("Select = %v, %v, want each row once", ids, err)
	}
	if s := p.Stats(); s.TxRetried > 6 || s.TxCommitted != 3 {
		t.Errorf("Stats = %+v, want three commits and few repetitions", s)
	}
}

// TestTracerSeesCommit: the host's tracer hears of each COMMIT once, also where the
// position of the commit is asked for with it.
func TestTracerSeesCommit(t *testing.T) {
	t.Parallel()
	tr := &commitTracer{}
	p := newPool(t, pgpool.Config{MaxConns: 1}, pgpool.WithTracer(tr))
	mustExec(t, p, "create table t (id int)")
	for i, ctx := range []context.Context{t.Context(), t.Context(), pgpool.WithToken(t.Context(), "")} {
		if err := p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "insert into t values (1)")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if tr.started != i+1 || tr.ended != i+1 {
			t.Errorf("transaction %d: the tracer saw %d starts and %d ends of COMMIT", i+1, tr.started, tr.ended)
		}
	}
}

// A commitTracer counts COMMITs, on a pool that is used by one goroutine.
type commitTracer struct{ started, ended int }

type commitKey struct{}

func (c *commitTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if data.SQL == "commit" {
		c.started++
		return context.WithValue(ctx, commitKey{}, true)
	}
	return ctx
}

func (c *commitTracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if ctx.Value(commitKey{}) != nil && data.Err == nil && data.CommandTag.String() == "COMMIT" {
		c.ended++
	}
}
