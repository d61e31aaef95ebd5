package health_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/pedro-go/pedro/health"
)

// The whole of it: two checks, of which one may fail, behind a mux.
func Example() {
	checks, err := health.New(health.Config{}, health.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	checks.Add("postgres", func(context.Context) error { return nil })
	checks.Add("redis", func(context.Context) error { return errors.New("dial tcp: no route") }, health.Optional())

	mux := http.NewServeMux()
	mux.Handle("/api/health/", health.Handler(checks))

	ctx := context.Background()
	if err := checks.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = checks.Stop(ctx) }()

	srv := httptest.NewServer(mux)
	defer srv.Close()
	show := func(path string) {
		resp, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		fmt.Printf("%s %d\n%s", path, resp.StatusCode, body)
	}
	show("/api/health/ready?verbose")
	checks.SetDraining()
	show("/api/health/ready?verbose")
	show("/api/health/live?verbose")
	// Output:
	// /api/health/ready?verbose 200
	// [+]postgres pass
	// [!]redis warn: error
	// warn
	// /api/health/ready?verbose 503
	// [+]postgres pass
	// [!]redis warn: error
	// phase: draining
	// fail
	// /api/health/live?verbose 200
	// phase: draining
	// pass
}

// A full pool is not a dead server.
func ExamplePool() {
	ping := func(context.Context) error { return nil }
	check := health.Pool(ping, func() (inUse, limit, waiting int) { return 20, 20, 7 })
	fmt.Println(check(context.Background()))
	// Output: saturated: 20 of 20 in use, 7 waiting
}
