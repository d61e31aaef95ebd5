package telemetry

import (
	"net"
	"net/http"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"
)

// HTTP measures and traces requests, with otelhttp: a span each, within that of
// the caller if it sent one, and http.server.request.duration. It belongs
// outside of all other middleware.
func (t *Telemetry) HTTP(next http.Handler) http.Handler {
	plain, encrypted := t.otelhttp(next, "80"), t.otelhttp(next, "443")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			encrypted.ServeHTTP(w, r)
		} else {
			plain.ServeHTTP(w, r)
		}
	})
}

// otelhttp is told the port, too. Otherwise it takes that of the Host header, of
// which clients can make up 65,535; the usual one it leaves out.
func (t *Telemetry) otelhttp(next http.Handler, usualPort string) http.Handler {
	name := t.cfg.ServerName
	if _, _, err := net.SplitHostPort(name); err != nil {
		name = net.JoinHostPort(name, usualPort)
	}
	return otelhttp.NewHandler(next, "HTTP",
		otelhttp.WithMeterProvider(t.cfg.MeterProvider), otelhttp.WithTracerProvider(t.cfg.TracerProvider),
		otelhttp.WithPropagators(t.cfg.Propagator), otelhttp.WithServerName(name))
}

// Route adds the route, such as /patients/{id}, to the span and the metrics of
// [Telemetry.HTTP]. It belongs around the router itself, inside of all
// middleware: that passes copies of the request on, and on the router's copy is
// the pattern. It is for routers that set http.Request.Pattern, as
// http.ServeMux does; for others see [SetRoute].
func Route(router http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { SetRoute(r, r.Pattern) }() // also when a handler panics
		router.ServeHTTP(w, r)
	})
}

// SetRoute says which route a request took, for routers that know patterns and
// do not set http.Request.Pattern, chi and gorilla/mux for example. Method and
// host in front of the path are left out. An empty pattern is none. It must be
// called before the handlers return.
func SetRoute(r *http.Request, pattern string) {
	if at := strings.IndexByte(pattern, '/'); at >= 0 {
		pattern = pattern[at:]
	}
	if pattern == "" {
		return
	}
	route := semconv.HTTPRoute(pattern)
	span := trace.SpanFromContext(r.Context())
	span.SetName(r.Method + " " + pattern)
	span.SetAttributes(route)
	if labels, found := otelhttp.LabelerFromContext(r.Context()); found {
		labels.Add(route)
	}
}
