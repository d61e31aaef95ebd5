package telemetry

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/exaring/otelpgx"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

// scope is the name of the instrumentation.
const scope = "github.com/pedro-go/pedro/telemetry"

// DefaultServerName is the default of [Config].ServerName.
const DefaultServerName = "localhost"

// Config says where telemetry goes. The zero value means OpenTelemetry's
// globals, as they are when [New] is called.
type Config struct {
	// MeterProvider gets the metrics. The default is otel.GetMeterProvider().
	MeterProvider metric.MeterProvider
	// TracerProvider gets the spans. The default is otel.GetTracerProvider().
	TracerProvider trace.TracerProvider
	// Propagator reads the caller's trace from a request. The default is that of
	// the W3C, traceparent and baggage.
	Propagator propagation.TextMapPropagator
	// ServerName is the server.address of the HTTP metrics: the name under which
	// the service is known, with a port if that is not the usual one. The Host
	// header is not used, because clients make it up. The default is
	// [DefaultServerName].
	ServerName string
}

// Telemetry connects the packages with OpenTelemetry. Make it with [New].
type Telemetry struct {
	cfg    Config
	meter  metric.Meter
	tracer trace.Tracer
	redis  metric.Float64Histogram
	pgx    *otelpgx.Tracer
}

// New returns a Telemetry. It starts nothing and needs no end.
func New(cfg Config) (*Telemetry, error) {
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	if cfg.Propagator == nil {
		cfg.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	}
	cfg.ServerName = cmp.Or(cfg.ServerName, DefaultServerName)
	t := &Telemetry{
		cfg:    cfg,
		meter:  cfg.MeterProvider.Meter(scope),
		tracer: cfg.TracerProvider.Tracer(scope),
		pgx:    otelpgx.NewTracer(otelpgx.WithMeterProvider(cfg.MeterProvider), otelpgx.WithTracerProvider(cfg.TracerProvider)),
	}
	var err error
	if t.redis, err = newDuration(t.meter); err != nil {
		return nil, fmt.Errorf("telemetry: new: %w", err)
	}
	return t, nil
}

// Sources are what [Telemetry.Watch] reads. What is nil is left out.
type Sources struct {
	// Name tells apart the pools and caches of programs with several, each given
	// to a Watch of its own. It goes in front of the pool names. The default is
	// none.
	Name string

	Pool     *pgpool.Pool
	Cache    *rediscache.Cache
	Sessions *session.Manager
	Checks   *health.Checker
	Group    *lifecycle.Group
}

// Watch has the numbers of s read whenever metrics are collected, for as long as
// the MeterProvider lives. That asks no server and runs no check: one on demand
// is as it was when somebody last asked for it.
func (t *Telemetry) Watch(s Sources) error {
	var err error
	if s.Pool != nil {
		err = errors.Join(err, t.watchPool(s.Name, s.Pool))
	}
	if s.Cache != nil {
		err = errors.Join(err, t.watchCache(s.Name, s.Cache))
	}
	if s.Sessions != nil {
		err = errors.Join(err, t.watchSessions(s.Sessions))
	}
	if s.Checks != nil {
		err = errors.Join(err, t.watchChecks(s.Checks))
	}
	if s.Group != nil {
		err = errors.Join(err, t.watchGroup(s.Group))
	}
	if err != nil {
		return fmt.Errorf("telemetry: watch: %w", err)
	}
	return nil
}
