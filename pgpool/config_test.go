package pgpool_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/pgpool"
)

func TestConfigFromEnv(t *testing.T) {
	for name, value := range map[string]string{
		"DATABASE_URL": "postgres://u:p@h/db", "DB_POOL_MAX": "7", "DB_POOL_MIN": "3", "DB_IDLE_TIMEOUT": "1000",
		"DB_CONNECTION_TIMEOUT": "2s", "DB_STATEMENT_TIMEOUT": "3000", "DB_QUERY_TIMEOUT": "4000", "APP_NAME": "app",
		"DB_POOL_MODE": "session", "DB_REPLICA_URLS": "postgres://r1/db, postgres://r2/db",
		"SUPABASE_URL": "https://abcdefghijklmnopqrst.supabase.co", "SUPABASE_DB_PASSWORD": "pw",
	} {
		t.Setenv(name, value)
	}
	got, err := pgpool.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if got.URL != "postgres://u:p@h/db" || got.MaxConns != 7 || got.MinConns != 3 || got.IdleTimeout != time.Second || got.ConnectTimeout != 2*time.Second ||
		got.StatementTimeout != 3*time.Second || got.QueryTimeout != 4*time.Second || got.AppName != "app" || got.PoolMode != pgpool.PoolModeSession ||
		len(got.ReplicaURLs) != 2 || got.SupabaseURL == "" || got.SupabasePassword != "pw" {
		t.Errorf("got %+v", got)
	}
	t.Setenv("DB_POOL_MAX", "s3cret")
	t.Setenv("DB_QUERY_TIMEOUT", "s3cret")
	_, err = pgpool.ConfigFromEnv()
	if !errors.Is(err, pgpool.ErrInvalidConfig) || strings.Contains(err.Error(), "s3cret") ||
		!strings.Contains(err.Error(), "DB_POOL_MAX") || !strings.Contains(err.Error(), "DB_QUERY_TIMEOUT") {
		t.Errorf("got %v, want both variables named and no value", err)
	}
}

func TestNewReportsEverything(t *testing.T) {
	t.Parallel()
	_, err := pgpool.New(pgpool.Config{
		URL: "postgres://u:s3cret@h:99999/db", MaxConns: -1, MinConns: 3, IdleTimeout: -1, ConnectTimeout: -1, StatementTimeout: 1,
		PoolMode: "none", ReplicaURLs: []string{"mysql://s3cret@h/db"}, AppName: "a\x00",
	})
	if !errors.Is(err, pgpool.ErrInvalidConfig) {
		t.Fatalf("got %v, want ErrInvalidConfig", err)
	}
	for _, name := range []string{
		"DATABASE_URL", "DB_POOL_MAX", "DB_IDLE_TIMEOUT", "DB_CONNECTION_TIMEOUT", "DB_STATEMENT_TIMEOUT", "DB_POOL_MODE",
		"DB_REPLICA_URLS", "APP_NAME",
	} {
		if !strings.Contains(err.Error(), name+":") {
			t.Errorf("%s is not named in: %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a secret is shown: %v", err)
	}
	if _, err := pgpool.New(pgpool.Config{}); err == nil || !strings.Contains(err.Error(), "DATABASE_URL: missing") {
		t.Errorf("empty Config: %v", err)
	}
	if _, err := pgpool.New(pgpool.Config{URL: "postgres://h/db", MaxConns: 2, MinConns: 3}); err == nil || !strings.Contains(err.Error(), "DB_POOL_MIN") {
		t.Errorf("MinConns > MaxConns: %v", err)
	}
}

func TestConfigDefaultsAndSecrets(t *testing.T) {
	t.Parallel()
	p, err := pgpool.New(pgpool.Config{
		URL: "postgres://u:canary1@127.0.0.1:1/db?password=canary2", SupabasePassword: "canary3", SupabaseServiceKey: "canary4",
		ReplicaURLs: []string{"postgres://u:canary5@127.0.0.1:2/db"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(t.Context())
	cfg := p.Config()
	if cfg.MaxConns != 20 || cfg.MinConns != 2 || cfg.IdleTimeout != 30*time.Second || cfg.ConnectTimeout != 10*time.Second ||
		cfg.StatementTimeout != 30*time.Second || cfg.QueryTimeout != 30*time.Second || cfg.AppName != "pedro-backend" || cfg.PoolMode != pgpool.PoolModeAuto {
		t.Errorf("Config = %+v", cfg)
	}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "config", cfg)
	if s := fmt.Sprintf("%v %+v %#v %s ", cfg, cfg, cfg, cfg) + b.String(); strings.Contains(s, "canary") || !strings.Contains(s, "127.0.0.1:1") {
		t.Errorf("Config is shown as %s", s)
	}
}

// TestConfigIsACopy changes what New was given, and what Config returned.
func TestConfigIsACopy(t *testing.T) {
	t.Parallel()
	const replica = "postgres://u@127.0.0.1:1/replica"
	cfg := pgpool.Config{URL: "postgres://u@127.0.0.1:1/db", ReplicaURLs: []string{replica}}
	p, err := pgpool.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(t.Context())
	cfg.URL, cfg.ReplicaURLs[0] = "changed", "changed"
	got := p.Config()
	if got.URL == "changed" || got.ReplicaURLs[0] != replica {
		t.Errorf("the pool's config changed with the caller's: %v", got)
	}
	got.ReplicaURLs[0] = "changed"
	if now := p.Config().ReplicaURLs[0]; now != replica {
		t.Errorf("the pool's config changed with what Config returned: %v", now)
	}
}
