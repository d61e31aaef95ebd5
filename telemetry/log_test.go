package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/slogtest"

	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/pedro-go/pedro/telemetry"
)

// TestLogHandlerConforms runs slog's own suite.
func TestLogHandlerConforms(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		buf.Reset()
		return telemetry.LogHandler(slog.NewJSONHandler(&buf, nil))
	}, func(t *testing.T) map[string]any {
		t.Helper()
		return decode(t, &buf)
	})
}

func decode(t *testing.T, buf *bytes.Buffer) map[string]any {
	t.Helper()
	var record map[string]any
	if err := json.Unmarshal(buf.Bytes(), &record); err != nil {
		t.Fatalf("%v in %s", err, buf)
	}
	return record
}

func TestLogHandlerAddsIDs(t *testing.T) {
	t.Parallel()
	ctx, span := trace.NewTracerProvider().Tracer("").Start(t.Context(), "x")
	t.Cleanup(func() { span.End() })
	traceID, spanID := span.SpanContext().TraceID().String(), span.SpanContext().SpanID().String()
	for name, derive := range map[string]func(*slog.Logger) *slog.Logger{
		"plain":        func(l *slog.Logger) *slog.Logger { return l },
		"with":         func(l *slog.Logger) *slog.Logger { return l.With("a", 1) },
		"group":        func(l *slog.Logger) *slog.Logger { return l.WithGroup("g").With("b", 2) },
		"group within": func(l *slog.Logger) *slog.Logger { return l.With("a", 1).WithGroup("g").WithGroup("h") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			l := derive(slog.New(telemetry.LogHandler(slog.NewJSONHandler(&buf, nil))))
			l.InfoContext(ctx, "hello", "c", 3)
			got := decode(t, &buf)
			if got["trace_id"] != traceID || got["span_id"] != spanID {
				t.Errorf("got %v, want trace_id %s and span_id %s at the top", got, traceID, spanID)
			}
			buf.Reset()
			l.InfoContext(t.Context(), "hello", "c", 3)
			if got := decode(t, &buf); got["trace_id"] != nil {
				t.Errorf("outside of a span: got %v, want no trace_id", got)
			}
		})
	}
}
