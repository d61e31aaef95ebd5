package prom_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/pedro-go/pedro/telemetry"
	"github.com/pedro-go/pedro/telemetry/prom"
)

// What Prometheus scrapes after one request.
func Example() {
	ctx := context.Background()
	metrics, err := prom.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := telemetry.New(telemetry.Config{MeterProvider: metrics.Provider()})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /patients/{id}", func(http.ResponseWriter, *http.Request) {})
	handler := t.HTTP(telemetry.Route(mux))
	fmt.Println(metrics.Start(ctx)) // in a service, lifecycle.Group does

	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/patients/7", http.NoBody))
	scrape := httptest.NewRecorder()
	handler.ServeHTTP(scrape, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	for line := range strings.Lines(scrape.Body.String()) {
		if strings.HasPrefix(line, "http_server_request_duration_seconds_count") {
			fmt.Println(strings.Contains(line, `http_route="/patients/{id}"`), strings.HasSuffix(line, " 1\n"))
		}
	}
	fmt.Println(metrics.Stop(ctx))
	// Output:
	// <nil>
	// true true
	// <nil>
}
