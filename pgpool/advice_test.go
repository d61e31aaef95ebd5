package pgpool_test

import (
	"context"
	"strings"
	"testing"

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
	if got := pool.Advice(); len(got) != 0 {
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
