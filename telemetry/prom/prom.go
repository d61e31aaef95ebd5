// Package prom serves metrics to Prometheus: the MeterProvider for
// telemetry.Config, and the handler that Prometheus scrapes, in one.
//
//	metrics, err := prom.New(nil)
//	t, err := telemetry.New(telemetry.Config{MeterProvider: metrics.Provider()})
//	mux.Handle("GET /metrics", metrics)
//
// Names are those of OpenTelemetry, as Prometheus spells them:
// db.client.operation.duration is db_client_operation_duration_seconds.
//
// # What the package does not do
//
// It does not decide who may read /metrics: serve it where only Prometheus is,
// or behind a check of the host's.
package prom

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// Exporter is a MeterProvider and the handler that serves its metrics, with
// those of the Go runtime and the process. It has a registry of its own and
// touches no global. It is safe for concurrent use; its Start and Stop make it
// a component of a lifecycle.Group.
type Exporter struct {
	http.Handler

	provider *sdk.MeterProvider
}

// New returns an Exporter. The resource describes the service (service.name and
// so on) and becomes the metric target_info; nil is that of the environment,
// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
func New(res *resource.Resource) (*Exporter, error) {
	if res == nil {
		res = resource.Default()
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("prom: new: %w", err)
	}
	return &Exporter{
		Handler:  promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}),
		provider: sdk.NewMeterProvider(sdk.WithReader(reader), sdk.WithResource(res)),
	}, nil
}

// Provider is what telemetry.Config wants.
func (e *Exporter) Provider() metric.MeterProvider { return e.provider }

// Start does nothing: an Exporter works from the beginning.
func (e *Exporter) Start(context.Context) error { return nil }

// Stop ends the provider. A second Stop returns nil.
func (e *Exporter) Stop(ctx context.Context) error {
	if err := e.provider.Shutdown(ctx); err != nil && !errors.Is(err, sdk.ErrReaderShutdown) {
		return fmt.Errorf("prom: stop: %w", err)
	}
	return nil
}
