package rediscache_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

func TestAdviceOnSettings(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]rediscache.Config{
		"the connection to Redis is not encrypted": {URL: "redis://:canary@cache.example.com:6379"},
		"REDIS_TLS_SKIP_VERIFY":                    {Host: "cache.example.com", TLS: true, TLSSkipVerify: true},
		"":                                         {Host: "localhost"},
	} {
		cache, err := rediscache.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(cache.Advice(), "\n")
		if !strings.Contains(got, want) || want == "" && got != "" || strings.Contains(got, "canary") {
			t.Errorf("%+v: %q, want %q and no secret", cfg, got, want)
		}
		if err := cache.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestAdviceOnEviction(t *testing.T) {
	t.Parallel()
	srv := rediscachetest.StartServer(t, devservices.WithRedisConfig("maxmemory 100mb"), devservices.WithRedisConfig("maxmemory-policy allkeys-lru"))
	cache, err := rediscache.New(rediscache.Config{URL: srv.URL(), Required: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cache.Stop(context.Background()) }()
	if err := cache.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); !cache.Stats().Memory.Known; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server's memory was not looked at within 30s")
		}
	}
	if got := strings.Join(cache.Advice(), "\n"); !strings.Contains(got, "maxmemory-policy allkeys-lru evicts sessions too") || !strings.Contains(got, "volatile-lru") {
		t.Errorf("got %q", got)
	}
}
