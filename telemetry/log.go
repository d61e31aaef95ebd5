package telemetry

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// LogHandler adds trace_id and span_id to the records that next gets, where they
// were logged with the context of a span (slog.InfoContext and its like). They
// stand at the top, whatever groups a logger has, so that they are found.
func LogHandler(next slog.Handler) slog.Handler { return &logHandler{base: next, next: next} }

// logHandler keeps the handler from before the first group, and what was added
// since, to put the IDs in front of that.
type logHandler struct {
	base    slog.Handler
	next    slog.Handler
	grouped []func(slog.Handler) slog.Handler
}

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return h.next.Handle(ctx, r)
	}
	ids := []slog.Attr{slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String())}
	if len(h.grouped) == 0 {
		r = r.Clone()
		r.AddAttrs(ids...)
		return h.next.Handle(ctx, r)
	}
	next := h.base.WithAttrs(ids)
	for _, add := range h.grouped {
		next = add(next)
	}
	return next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := h.next.WithAttrs(attrs)
	if len(h.grouped) == 0 {
		return &logHandler{base: next, next: next}
	}
	return h.with(next, func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(h.next.WithGroup(name), func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (h *logHandler) with(next slog.Handler, add func(slog.Handler) slog.Handler) slog.Handler {
	return &logHandler{base: h.base, next: next, grouped: append(slices.Clip(h.grouped), add)}
}
