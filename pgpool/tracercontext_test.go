package pgpool_test

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pedro-go/pedro/pgpool"
)

type tracerKey struct{}

// A keepingTracer keeps the contexts it is given, and passes on one of its own.
type keepingTracer struct {
	mu             sync.Mutex
	started, ended []context.Context //nolint:containedctx // what is tested
}

func (*keepingTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (*keepingTracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (k *keepingTracer) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.started = append(k.started, ctx)
	return context.WithValue(ctx, tracerKey{}, "the tracer's")
}

func (k *keepingTracer) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireEndData) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = append(k.ended, ctx)
}

// TestTracerContext: a tracer of acquires gets the caller's context, which it may
// keep, and what it returned.
func TestTracerContext(t *testing.T) {
	t.Parallel()
	tracer := &keepingTracer{}
	p := newPool(t, pgpool.Config{MaxConns: 2, MinConns: -1}, pgpool.WithTracer(tracer))
	const calls = 5
	for i := range calls {
		mustExec(t, p, "select 1")
		if _, err := pgpool.Get[int](context.WithValue(t.Context(), tracerKey{}, i), p, "select 1"); err != nil {
			t.Fatal(err)
		}
	}
	tracer.mu.Lock()
	defer tracer.mu.Unlock()
	seen := 0
	for i := range tracer.started {
		if v, ok := tracer.started[i].Value(tracerKey{}).(int); ok {
			if v != seen {
				t.Errorf("a context kept from call %d has the value of call %d", seen, v)
			}
			seen++
		}
		if v := tracer.ended[i].Value(tracerKey{}); v != "the tracer's" {
			t.Errorf("TraceAcquireEnd got a context with %v, want the tracer's own", v)
		}
	}
	if seen != calls {
		t.Errorf("%d contexts are those of the calls, want %d", seen, calls)
	}
}
