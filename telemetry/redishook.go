package telemetry

import (
	"context"
	"errors"
	"strings"
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
type redisHook struct{ t *Telemetry }

// DialHook implements redis.Hook. Connections are made in the background.
func (h *redisHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (h *redisHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return h.measure(ctx, strings.ToUpper(cmd.Name()), 0, func(ctx context.Context) error { return next(ctx, cmd) })
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h *redisHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return h.measure(ctx, pipelineName(cmds), len(cmds), func(ctx context.Context) error { return next(ctx, cmds) })
	}
}

// pipelineName is as the conventions have it for batches: with the name of the
// operation if it is the same for all.
func pipelineName(cmds []redis.Cmder) string {
	for _, cmd := range cmds {
		if cmd.Name() != cmds[0].Name() {
			return "PIPELINE"
		}
	}
	if len(cmds) == 0 {
		return "PIPELINE"
	}
	return "PIPELINE " + strings.ToUpper(cmds[0].Name())
}

func (h *redisHook) measure(ctx context.Context, name string, batch int, do func(context.Context) error) error {
	attrs := make([]attribute.KeyValue, 2, 4)
	attrs[0], attrs[1] = semconv.DBSystemNameRedis, semconv.DBOperationName(name)
	var span trace.Span
	if trace.SpanFromContext(ctx).IsRecording() { // as otelpgx does: no spans of background work
		ctx, span = h.t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
		defer span.End()
		if batch > 1 {
			span.SetAttributes(semconv.DBOperationBatchSize(batch))
		}
	}
	began := time.Now()
	err := do(ctx)
	took := time.Since(began)
	if kind := errorType(err); kind != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(kind))
		if span != nil {
			span.SetAttributes(semconv.ErrorTypeKey.String(kind))
			span.SetStatus(codes.Error, kind)
		}
	}
	h.t.redis.Record(ctx, took.Seconds(), metric.WithAttributeSet(attribute.NewSet(attrs...)))
	return err
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
