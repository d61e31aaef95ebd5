package prom_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/lifecycle/lifecycletest"
	"github.com/pedro-go/pedro/telemetry"
	"github.com/pedro-go/pedro/telemetry/prom"
)

var _ lifecycle.Component = (*prom.Exporter)(nil)

func TestExporterIsAComponent(t *testing.T) {
	t.Parallel()
	lifecycletest.Run(t, func(t *testing.T) lifecycle.Component {
		t.Helper()
		metrics, err := prom.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return metrics
	})
}

func TestServesWhatIsMeasured(t *testing.T) {
	t.Parallel()
	metrics, err := prom.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tel, err := telemetry.New(telemetry.Config{MeterProvider: metrics.Provider()})
	if err != nil {
		t.Fatal(err)
	}
	group, err := lifecycle.New(lifecycle.Config{})
	if err != nil {
		t.Fatal(err)
	}
	group.Add("metrics", metrics)
	if err := tel.Watch(telemetry.Sources{Group: group}); err != nil {
		t.Fatal(err)
	}
	if err := group.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	metrics.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	body, _ := io.ReadAll(w.Body)
	for _, want := range []string{`pedro_lifecycle_status{pedro_state="running"} 1`, "go_goroutines", "process_resident_memory_bytes", "target_info"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("got\n%s\nwant %s in it", body, want)
		}
	}
	for range 2 {
		if err := group.Stop(t.Context()); err != nil {
			t.Errorf("stop: got %v, want nil", err)
		}
	}
}
