package pgpool_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

func TestAdvice(t *testing.T) {
	t.Parallel()
	pool, err := pgpool.New(pgpool.Config{URL: pgpooltest.Start(t), MaxConns: 1, MinConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Stop(context.Background()) }()
	if err := pool.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := pool.Advice(); len(got) != 0 { // also the clocks agree, and the timeout is in effect
		t.Errorf("at rest: %q, want none", got)
	}
	conn, err := pool.Pgx().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() {
		_, err := pool.Exec(t.Context(), "select 1")
		waited <- err
	}()
	eventually(t, "a caller to wait", func() bool { return pool.Stats().Waiting > 0 })
	if got := pool.Advice(); len(got) != 1 || !strings.HasPrefix(got[0], "DB_POOL_MAX: all 1 connections are in use and 1 callers wait") {
		t.Errorf("with a caller that waits: %q", got)
	}
	conn.Release()
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

func TestAdviceOnSettings(t *testing.T) {
	t.Parallel()
	pool, err := pgpool.New(pgpool.Config{URL: "postgres://u:canary@db.example.com/x?sslmode=disable", MaxConns: 200})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Stop(context.Background()) }()
	got := strings.Join(pool.Advice(), "\n")
	if !strings.Contains(got, "DB_POOL_MAX: 200 connections") || !strings.Contains(got, "the primary is not encrypted") || strings.Contains(got, "canary") {
		t.Errorf("got %q, want both mistakes and no secret", got)
	}
}

func TestAdviceOnServer(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t, devservices.WithPostgresConfig("max_connections", "100"))
	bouncer := pgpooltest.StartPgBouncer(t, server, devservices.WithPoolMode(devservices.SessionMode), devservices.WithPgBouncerConfig("ignore_startup_parameters = extra_float_digits, statement_timeout, idle_in_transaction_session_timeout"))
	busy := newPool(t, pgpool.Config{URL: server.URL(), MaxConns: 1})
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wg.Go(func() { _, _ = busy.Exec(ctx, "select pg_sleep(30)") })
	eventually(t, "the long statement runs", func() bool { return busy.Stats().AcquiredConns == 1 })

	pool, err := pgpool.New(pgpool.Config{URL: bouncer.URL(), PoolMode: pgpool.PoolModeDirect, MaxConns: 90, StatementTimeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Stop(context.Background()) }()
	if err := pool.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(pool.Advice(), "\n")
	for _, want := range []string{
		"DB_POOL_MAX: 90 of the 97 connections that the server has",
		"DB_STATEMENT_TIMEOUT: it is 1ms, but 0s is in effect",
		"has been running a statement for",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in the advice:\n%s", want, got)
		}
	}
}

func TestAdviceOnTooLargePool(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgpool.Config{MaxConns: 60})
	for range 10_001 {
		if _, err := pool.Exec(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(pool.Advice(), "\n"); !strings.Contains(got, "of 60 connections were in use at a time") {
		t.Errorf("got %q, want a hint that the pool is too large", got)
	}
}
