package rediscache_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache"
)

func TestConfigFromEnv(t *testing.T) {
	for name, value := range map[string]string{
		"REDIS_HOST": "cache", "REDIS_PORT": "6380", "REDIS_USERNAME": "app", "REDIS_PASSWORD": "canary", "REDIS_DB": "2",
		"REDIS_REQUIRED": "true", "REDIS_TIMEOUT": "150", "REDIS_DIAL_TIMEOUT": "3s", "APP_NAME": "clinic",
	} {
		t.Setenv(name, value)
	}
	cfg, err := rediscache.ConfigFromEnv()
	want := rediscache.Config{
		Host: "cache", Port: 6380, Username: "app", Password: "canary", DB: 2,
		Required: true, Timeout: 150 * time.Millisecond, DialTimeout: 3 * time.Second, AppName: "clinic",
	}
	if err != nil || fmt.Sprintf("%+v", cfg) != fmt.Sprintf("%+v", want) || cfg.Password != "canary" {
		t.Errorf("got %+v and %v, want %+v", cfg, err, want)
	}
}

func TestConfigFromEnvReportsAll(t *testing.T) {
	for name, value := range map[string]string{
		"REDIS_URL": "http://u:canary@h", "REDIS_PORT": "canary", "REDIS_DB": "-1", "REDIS_POOL_SIZE": "-5",
		"REDIS_TIMEOUT": "canary", "REDIS_MASTER_NAME": "canary", "REDIS_TLS_CERT": "canary",
	} {
		t.Setenv(name, value)
	}
	_, err := rediscache.ConfigFromEnv()
	if !errors.Is(err, rediscache.ErrInvalidConfig) {
		t.Fatalf("got %v, want ErrInvalidConfig", err)
	}
	for _, name := range []string{"REDIS_URL", "REDIS_PORT", "REDIS_DB", "REDIS_POOL_SIZE", "REDIS_TIMEOUT", "REDIS_MASTER_NAME", "REDIS_TLS_KEY"} {
		if !strings.Contains(err.Error(), "\t"+name+": ") {
			t.Errorf("%s is not reported", name)
		}
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("a value is shown: %v", err)
	}
}

func TestConfigHidesSecrets(t *testing.T) {
	t.Parallel()
	cfg := rediscache.Config{URL: "redis://u:canary1@h:1/0?x=canary2", Password: "canary3", SentinelPassword: "canary4"}
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	log.Info("x", "config", cfg)
	for _, url := range []string{"redis://u:1/canary@h:1/0", "redis://u:canary#5@h:1/0", "redis://u:canary?5@h/0", "redis://canary/34@h:1/0"} {
		log.Info("x", "config", rediscache.Config{URL: url})
	}
	for _, shown := range []string{b.String(), fmt.Sprint(cfg), fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", cfg), fmt.Sprintf("%v", &cfg)} {
		if strings.Contains(shown, "canary") {
			t.Errorf("a secret is shown: %s", shown)
		}
	}
}

// Every form that made redis.ParseURL show the password, and more.
func TestURLErrorsShowNothing(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://u:canary@h:port", "redis://u:can/ary@h", "redis://u:can#ary@h", "redis://u:can?ary@h", "redis://u:%zcanary@h",
		"redis://:canary@h:99999", "redis://u:canary@h/db", "redis://u:canary@h/0?canary=1", "redis://u:canary@h/-1", "rediss://u:canary @h",
		"canary", "://canary", "redis:canary", "unix://canary", "unix://u:canary@", "redis://u:canary@h:6379/0/1", "redis://u:canary@h:", "redis://u:canary@[::1",
		"redis://u:canary\n@h", "redis://h?db=1&db=2", "redis://u:canary@a,b:1",
	} {
		_, err := rediscache.New(rediscache.Config{URL: url})
		if !errors.Is(err, rediscache.ErrInvalidConfig) {
			t.Errorf("%q: got %v, want ErrInvalidConfig", url, err)
			continue
		}
		for _, part := range []string{"canary", "can/", "ary@", "#ary"} {
			if strings.Contains(err.Error(), part) {
				t.Errorf("%q: the error shows a part of it: %v", url, err)
			}
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c, err := rediscache.New(rediscache.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop(t.Context())
	cfg := c.Config()
	if cfg.Host != rediscache.DefaultHost || cfg.Port != rediscache.DefaultPort || cfg.Timeout != rediscache.DefaultTimeout ||
		cfg.NearBytes != rediscache.DefaultNearBytes || cfg.PoolSize < rediscache.DefaultMinPoolSize || cfg.Required {
		t.Errorf("Config() = %+v, want the defaults", cfg)
	}
}

// TestHostIsNoAddress: the port has a variable of its own.
func TestHostIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"localhost:6380", "[::1]", "redis://h", "a b"} {
		if _, err := rediscache.New(rediscache.Config{Host: host}); err == nil || !strings.Contains(err.Error(), "REDIS_HOST:") {
			t.Errorf("%q: got %v, want a problem of REDIS_HOST", host, err)
		}
	}
}

// TestDefaultsFollowSettings: a default never contradicts what was set.
func TestDefaultsFollowSettings(t *testing.T) {
	t.Parallel()
	for _, cfg := range []rediscache.Config{{PoolSize: 1}, {MaxReplyBytes: 1 << 20}, {Host: "::1"}} {
		c, err := rediscache.New(cfg)
		if err != nil {
			t.Errorf("%v: %v", cfg, err)
			continue
		}
		if got := c.Config(); got.MinIdleConns > got.PoolSize || got.MaxValueBytes > got.MaxReplyBytes {
			t.Errorf("Config() = %+v", got)
		}
		_ = c.Stop(t.Context())
	}
}

func TestConfigExcludes(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]rediscache.Config{
		"REDIS_URL":           {URL: "redis://h", Addrs: []string{"h:1"}},
		"REDIS_ADDRS":         {Addrs: []string{"h"}},
		"REDIS_DB":            {Addrs: []string{"h:1"}, DB: 1},
		"REDIS_CLUSTER":       {Addrs: []string{"h:1"}, MasterName: "m", Cluster: true},
		"REDIS_POOL_MIN_IDLE": {PoolSize: 5, MinIdleConns: 6},
		"REDIS_TLS":           {TLSServerName: "h"},
		"REDIS_TLS_CA":        {TLS: true, TLSCAFile: "/nonexistent"},
		"REDIS_HOST":          {Host: "redis://h"},

		"REDIS_MAX_VALUE_BYTES": {MaxValueBytes: 100, MaxReplyBytes: 10},
		"REDIS_DIAL_TIMEOUT":    {DialTimeout: -1},
	} {
		_, err := rediscache.New(cfg)
		if !errors.Is(err, rediscache.ErrInvalidConfig) || !strings.Contains(fmt.Sprint(err), name+":") {
			t.Errorf("%+v: got %v, want a problem of %s", cfg, err, name)
		}
	}
}
