package main

import (
	"context"
	"fmt"
	"os"

	"github.com/pedro-go/pedro/devservices"
)

// startServers starts what is not configured and sets its variable. A server
// that is not installed is said and done without.
func startServers() (stop func()) {
	var closers []func() error
	start := func(variable string, start func(context.Context) (url string, stop func() error, err error)) {
		if os.Getenv(variable) != "" {
			return
		}
		url, stop, err := start(context.Background())
		if err != nil {
			fmt.Fprintf(os.Stderr, "running without %s: %v\n", variable, err)
			return
		}
		closers = append(closers, stop)
		_ = os.Setenv(variable, url)
	}
	start("DATABASE_URL", func(ctx context.Context) (string, func() error, error) {
		pg, err := devservices.StartPostgres(ctx)
		if err != nil {
			return "", nil, err
		}
		return pg.URL(), pg.Close, nil
	})
	start("REDIS_URL", func(ctx context.Context) (string, func() error, error) {
		rd, err := devservices.StartRedis(ctx)
		if err != nil {
			return "", nil, err
		}
		return rd.URL(), rd.Close, nil
	})
	if os.Getenv("DATABASE_URL") == "" { // the pool wants an address, even if nobody is there
		_ = os.Setenv("DATABASE_URL", "postgres://localhost:5432/postgres")
	}
	return func() {
		for _, stop := range closers {
			_ = stop()
		}
	}
}
