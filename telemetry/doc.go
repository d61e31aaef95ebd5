// Package telemetry makes the five packages of pedro speak OpenTelemetry: traces
// and metrics with the names of its semantic conventions, and trace IDs in the
// log.
//
//	t, err := telemetry.New(telemetry.Config{MeterProvider: meters, TracerProvider: tracers})
//	pool, err := pgpool.New(dbCfg, t.Pool())        // statements: spans and durations
//	cache, err := rediscache.New(rdCfg, t.Cache())  // commands: spans and durations
//	…
//	err = t.Watch(telemetry.Sources{Pool: pool, Cache: cache, Sessions: sessions, Checks: checks, Group: g})
//	handler := t.HTTP(session.Middleware(sessions)(telemetry.Route(mux))) // requests
//	slog.SetDefault(slog.New(telemetry.LogHandler(slog.NewJSONHandler(os.Stderr, nil))))
//
// The providers come from the host, made by the OpenTelemetry SDK with the
// exporter of its choice, as for any other instrumentation. Package prom, beside,
// has one for Prometheus.
//
// docs/telemetry.md lists every metric. What is there already in Stats and
// Report is read when metrics are collected, so that it costs nothing between.
//
// # Order
//
// New first, since the pool and the cache are made with its options; Watch when
// all that it shall watch is made, before or after their Start. The providers are
// stopped last, so that they get the last numbers.
//
// # Failure
//
// Telemetry never fails a request. New and Watch return an error if an
// instrument cannot be made, which means that another one has its name. What
// fails later goes to OpenTelemetry's error handler.
//
// # Privacy
//
// Statements are in spans, as the program wrote them, without arguments. Of
// Redis' commands the name is there, and neither key nor value: keys are session
// records and people's numbers. Nothing in a metric comes from a client, so that
// nobody can make up a million time series.
//
// # Concurrency
//
// Everything is safe for concurrent use.
//
// # What the package does not do
//
// It makes no providers and no exporters (but prom), sets no globals, and traces
// no background work: statements and commands get a span within a span.
package telemetry
