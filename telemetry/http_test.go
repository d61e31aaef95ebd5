package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/pedro-go/pedro/telemetry"
)

func TestRoute(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET example.org/host/{id}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/any/{rest...}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("GET /set/{id}", func(_ http.ResponseWriter, r *http.Request) { telemetry.SetRoute(r, "/sub/{id}") })
	copying := func(next http.Handler) http.Handler { // as middleware that adds to the context does
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r.Clone(r.Context())) })
	}
	for target, want := range map[string]string{
		"http://example.org/host/1": "GET /host/{id}",
		"http://x/any/a/b":          "GET /any/{rest...}",
		"http://x/panic":            "GET /panic",
		"http://x/nowhere":          "GET",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			spans := tracetest.NewSpanRecorder()
			tel, err := telemetry.New(telemetry.Config{TracerProvider: trace.NewTracerProvider(trace.WithSpanProcessor(spans))})
			if err != nil {
				t.Fatal(err)
			}
			func() {
				defer func() { _ = recover() }()
				tel.HTTP(copying(telemetry.Route(mux))).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
			}()
			ended := spans.Ended()
			if len(ended) != 1 || ended[0].Name() != want {
				t.Fatalf("%s: got the spans %v, want one called %q", target, ended, want)
			}
		})
	}
}

// TestStreams has the writer keep what streams and WebSockets need.
func TestStreams(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.New(telemetry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(tel.HTTP(telemetry.Route(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("flush: got %v, want nil", err)
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: got %v, want nil", err)
			return
		}
		_ = conn.Close()
	}))))
	t.Cleanup(server.Close)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}
