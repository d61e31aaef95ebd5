package telemetry_test

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/pedro-go/pedro/pgpool/pgpooltest"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/telemetry"
	"github.com/pedro-go/pedro/telemetry/internal/host"
)

func TestMain(m *testing.M) {
	status := m.Run()
	_ = pgpooltest.Close()
	os.Exit(status)
}

// rig is a running host whose telemetry stays in memory.
type rig struct {
	*host.Host

	url    string
	client *http.Client
	reader *metric.ManualReader
	spans  *tracetest.SpanRecorder
}

func start(t *testing.T, cfg host.Config) *rig {
	t.Helper()
	if cfg.DB.URL == "" {
		cfg.DB.URL = pgpooltest.Start(t)
	}
	if cfg.Redis.URL == "" {
		cfg.Redis.URL = rediscachetest.Start(t)
	}
	cfg.Sessions.Secrets = []string{strings.Repeat("0123456789abcdef", 2)}
	r := &rig{reader: metric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	meters := metric.NewMeterProvider(metric.WithReader(r.reader))
	tracers := trace.NewTracerProvider(trace.WithSpanProcessor(r.spans))
	tel, err := telemetry.New(telemetry.Config{MeterProvider: meters, TracerProvider: tracers})
	if err != nil {
		t.Fatal(err)
	}
	if r.Host, err = host.New(cfg, tel, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.Group.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.Group.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(r.Handler)
	t.Cleanup(server.Close)
	jar, _ := cookiejar.New(nil)
	r.url, r.client = server.URL, &http.Client{Jar: jar}
	return r
}

func (r *rig) do(t *testing.T, method, path string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

// doAs sends a request with a Host header of the client's invention.
func (r *rig) doAs(t *testing.T, host string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/fail", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// collect returns the metrics by name.
func (r *rig) collect(t *testing.T) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	byName := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if have, twice := byName[m.Name]; twice { // two scopes, one name: pgx and Redis
				m.Data = merge(have.Data, m.Data)
			}
			byName[m.Name] = m
		}
	}
	return byName
}

func merge(a, b metricdata.Aggregation) metricdata.Aggregation {
	x, isHistogram := a.(metricdata.Histogram[float64])
	y, too := b.(metricdata.Histogram[float64])
	if isHistogram && too {
		y.DataPoints = append(y.DataPoints, x.DataPoints...)
		return y
	}
	return b
}
