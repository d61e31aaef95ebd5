package telemetry

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/pedro-go/pedro/rediscache"
)

// newDuration is db.client.operation.duration as otelpgx makes it, with the
// boundaries that the conventions advise.
func newDuration(m metric.Meter) (metric.Float64Histogram, error) {
	return m.Float64Histogram("db.client.operation.duration", metric.WithUnit("s"), metric.WithDescription("Duration of database client operations."),
		metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10))
}

// redisHook sees what the program asks of Redis, before the gate and the
// retries: what a caller waits for.
type redisHook struct {
	t   *Telemetry
	ops sync.Map // of *operation by the name that go-redis uses
}

// operation is a command, or a pipeline of commands of one kind, prepared so
// that measuring one that succeeds allocates nothing.
type operation struct {
	name  string
	attrs []attribute.KeyValue
	ok    []metric.RecordOption
}

// DialHook implements redis.Hook. Connections are made in the background.
func (h *redisHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (h *redisHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		op := h.operation(cmd.Name())
		ctx, span := h.span(ctx, op, 1)
		began := time.Now()
		err := next(ctx, cmd)
		h.done(ctx, op, span, began, err)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h *redisHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		op := h.operation(pipelineName(cmds))
		ctx, span := h.span(ctx, op, len(cmds))
		began := time.Now()
		err := next(ctx, cmds)
		h.done(ctx, op, span, began, err)
		return err
	}
}

func (h *redisHook) operation(name string) *operation {
	if op, known := h.ops.Load(name); known {
		return op.(*operation)
	}
	op := &operation{name: strings.ToUpper(name)}
	op.attrs = []attribute.KeyValue{semconv.DBSystemNameRedis, semconv.DBOperationName(op.name)}
	op.ok = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(op.attrs...))}
	h.ops.Store(name, op)
	return op
}

// pipelineName is as the conventions have it for batches: with the name of the
// operation if it is the same for all.
func pipelineName(cmds []redis.Cmder) string {
	for _, cmd := range cmds {
		if cmd.Name() != cmds[0].Name() {
			return "pipeline"
		}
	}
	if len(cmds) == 0 {
		return "pipeline"
	}
	return "pipeline " + cmds[0].Name()
}

// span begins one within that of ctx. As with otelpgx, background work has
// none.
func (h *redisHook) span(ctx context.Context, op *operation, batch int) (context.Context, trace.Span) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, nil
	}
	ctx, span := h.t.tracer.Start(ctx, op.name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(op.attrs...))
	if batch > 1 {
		span.SetAttributes(semconv.DBOperationBatchSize(batch))
	}
	return ctx, span
}

func (h *redisHook) done(ctx context.Context, op *operation, span trace.Span, began time.Time, err error) {
	took := time.Since(began).Seconds()
	kind := errorType(err)
	if kind == "" {
		h.t.redis.Record(ctx, took, op.ok...)
	} else {
		failed := semconv.ErrorTypeKey.String(kind)
		h.t.redis.Record(ctx, took, metric.WithAttributes(append(slices.Clip(op.attrs), failed)...))
		if span != nil {
			span.SetAttributes(failed)
			span.SetStatus(codes.Error, kind)
		}
	}
	if span != nil {
		span.End()
	}
}

// errorType is a word for an error, of which there are few; "" for none. That
// there is no value is none.
func errorType(err error) string {
	switch {
	case err == nil, errors.Is(err, redis.Nil):
		return ""
	case errors.Is(err, rediscache.ErrUnavailable):
		return "unavailable"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	if reply, is := errors.AsType[redis.Error](err); is {
		if word, _, _ := strings.Cut(reply.Error(), " "); isErrorWord(word) {
			return word
		}
	}
	return "_OTHER"
}

// isErrorWord reports whether a word is one of Redis' own, such as WRONGTYPE or
// READONLY. Scripts can put anything there.
func isErrorWord(s string) bool {
	for _, c := range s {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return s != "" && len(s) <= 16
}
