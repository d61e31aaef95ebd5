package pedro_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

// settings are environment variables.
type settings map[string]string

// fromEnv are the packages that are configured by the environment, as a host
// makes them: what ConfigFromEnv lets pass, New must not.
var fromEnv = map[string]func() error{
	"pgpool": func() error {
		cfg, err := pgpool.ConfigFromEnv()
		if err != nil {
			return err
		}
		made, err := pgpool.New(cfg)
		return stopped(made, err)
	},
	"rediscache": func() error {
		cfg, err := rediscache.ConfigFromEnv()
		if err != nil {
			return err
		}
		made, err := rediscache.New(cfg)
		return stopped(made, err)
	},
	"session": func() error {
		cfg, err := session.ConfigFromEnv()
		if err != nil {
			return err
		}
		made, err := session.New(nil, cfg)
		return stopped(made, err)
	},
}

// stopped ends what was made after all.
func stopped(c lifecycle.Component, err error) error {
	if err != nil {
		return err
	}
	return c.Stop(context.Background())
}

// kinds are the errors that each package's mistakes wrap.
var kinds = map[string]error{
	"pgpool": pgpool.ErrInvalidConfig, "rediscache": rediscache.ErrInvalidConfig, "session": session.ErrInvalidConfig,
	"health": health.ErrInvalidConfig, "lifecycle": lifecycle.ErrInvalidConfig,
}

// What many mistakes have in common.
const (
	notNumber   = "not a whole number in range; write digits such as 20"
	notDuration = "not a duration; write milliseconds such as 30000, or a unit such as 30s"
	notBool     = "not a yes or no; write true or false"
	makeSecret  = "make one with: openssl rand -hex 32"
	howToWrite  = "write postgres://user:password@host:5432/database, and in the password write %40 for @, %3A for :, %2F for /, %3F for ?, %23 for # and %25 for %"
)

// badEnv is what people put into variables, and what they are told: the
// variable, what is wrong, how to mend it, and never the value.
var badEnv = map[string][]struct {
	env  settings
	want []string // the problems, in order
}{
	"pgpool": {
		{settings{"DB_POOL_MAX": "abc-c4n4ry"}, []string{"DB_POOL_MAX: " + notNumber}},
		{settings{"DB_POOL_MAX": "-1"}, []string{"DB_POOL_MAX: must be 1 or more; the default is 20"}},
		{settings{"DB_POOL_MAX": "99999999999"}, []string{"DB_POOL_MAX: " + notNumber}},
		{settings{"DB_POOL_MAX": "2.5"}, []string{"DB_POOL_MAX: " + notNumber}},
		{settings{"DB_POOL_MAX": " 20 "}, []string{"DB_POOL_MAX: " + notNumber}},
		{settings{"DB_POOL_MIN": "many"}, []string{"DB_POOL_MIN: " + notNumber}},
		{settings{"DB_POOL_MIN": "21"}, []string{"DB_POOL_MIN: must not exceed DB_POOL_MAX (20)"}},
		{settings{"DB_POOL_MAX": "3", "DB_POOL_MIN": "4"}, []string{"DB_POOL_MIN: must not exceed DB_POOL_MAX (3)"}},
		{settings{"DB_IDLE_TIMEOUT": "5 s"}, []string{"DB_IDLE_TIMEOUT: " + notDuration}},
		{settings{"DB_IDLE_TIMEOUT": "-30000"}, []string{"DB_IDLE_TIMEOUT: must be positive; the default is 30s"}},
		{settings{"DB_CONNECTION_TIMEOUT": "1e99"}, []string{"DB_CONNECTION_TIMEOUT: " + notDuration}},
		{settings{"DB_CONNECTION_TIMEOUT": "-1s"}, []string{"DB_CONNECTION_TIMEOUT: must be positive; the default is 10s"}},
		{settings{"DB_STATEMENT_TIMEOUT": "NaN"}, []string{"DB_STATEMENT_TIMEOUT: " + notDuration}},
		{settings{"DB_STATEMENT_TIMEOUT": "10us"}, []string{"DB_STATEMENT_TIMEOUT: must be 1 ms or more, or negative for none"}},
		{settings{"DB_QUERY_TIMEOUT": "9223372036854775807"}, []string{"DB_QUERY_TIMEOUT: " + notDuration}},
		{settings{"DB_QUERY_TIMEOUT": "1ns"}, []string{"DB_QUERY_TIMEOUT: must be 1 ms or more, or negative for none"}},
		{settings{"DB_MAX_LIFETIME": "never"}, []string{"DB_MAX_LIFETIME: " + notDuration}},
		{settings{"DB_IDLE_IN_TRANSACTION_TIMEOUT": "500us"}, []string{"DB_IDLE_IN_TRANSACTION_TIMEOUT: must be 1 ms or more, or negative for none"}},
		{settings{"DB_IDLE_IN_TRANSACTION_TIMEOUT": "1 min"}, []string{"DB_IDLE_IN_TRANSACTION_TIMEOUT: " + notDuration}},
		{settings{"DB_SLOW_QUERY": "slow"}, []string{"DB_SLOW_QUERY: " + notDuration}},
		{settings{"DB_POOL_MODE": "statement"}, []string{"DB_POOL_MODE: must be auto, direct, session or transaction"}},
		{settings{"DB_REPLICA_MAX_LAG": "10sec"}, []string{"DB_REPLICA_MAX_LAG: " + notDuration}},
		{settings{"DB_REPLICA_WAIT": "\xff"}, []string{"DB_REPLICA_WAIT: " + notDuration}},
		{settings{"DB_REPLICA_URLS": "mysql://u:c4n4ry@h/db"}, []string{"DB_REPLICA_URLS: does not start with postgres:// or postgresql://"}},
		{settings{"DB_REPLICA_URLS": "postgres://r1/db, c4n4ry"}, []string{"DB_REPLICA_URLS: is not a connection string; " + howToWrite}},
		{settings{"PGSERVICE": "c4n4ry"}, []string{"DATABASE_URL: names a service that cannot be read"}},
		{settings{"DATABASE_URL": ""}, []string{"DATABASE_URL: missing; set it to postgres://user:password@host:5432/database, or set SUPABASE_URL and SUPABASE_DB_PASSWORD"}},
		{settings{"DATABASE_URL": "c4n4ry"}, []string{"DATABASE_URL: is not a connection string; " + howToWrite}},
		{settings{"DATABASE_URL": "   "}, []string{"DATABASE_URL: is not a connection string; " + howToWrite}},
		{settings{"DATABASE_URL": "jdbc:postgresql://h/db?user=u&password=c4n4ry"}, []string{"DATABASE_URL: is a JDBC URL; " + howToWrite}},
		{settings{"DATABASE_URL": "mysql://u:c4n4ry@h/db"}, []string{"DATABASE_URL: does not start with postgres:// or postgresql://"}},
		{settings{"DATABASE_URL": "postgres://u:c4n4ry@h:99999/db"}, []string{"DATABASE_URL: has a wrong port; " + howToWrite}},
		{settings{"DATABASE_URL": "postgres://u:c4n4ry@h:port/db"}, []string{"DATABASE_URL: has a wrong port; " + howToWrite}},
		{settings{"DATABASE_URL": "postgres://u:c4n/4ry@h/db"}, []string{"DATABASE_URL: has a wrong port; " + howToWrite}},
		{settings{"DATABASE_URL": "postgres://u:c4n4ry%zz@h/db"}, []string{"DATABASE_URL: cannot be parsed; " + howToWrite}},
		{settings{"DATABASE_URL": "postgres://u:c4n4ry@[::1/db"}, []string{"DATABASE_URL: cannot be parsed; " + howToWrite}},
		{settings{"DATABASE_URL": "postgres://u:[YOUR-PASSWORD]@h/db"}, []string{"DATABASE_URL: still has the placeholder for the password; put the password of the database in"}},
		{settings{"DATABASE_URL": "postgres://u:c4n4ry@h/db?sslmode=perhaps"}, []string{"DATABASE_URL: has a wrong sslmode; use disable, prefer, require, verify-ca, verify-full or no-verify"}},
		{settings{"DATABASE_URL": "postgres://u:c4n4ry@h/db?target_session_attrs=best"}, []string{"DATABASE_URL: has a wrong target_session_attrs; use any, read-write, read-only, primary, standby or prefer-standby"}},
		{settings{"DATABASE_URL": "postgres://u:c4n4ry@h/db?connect_timeout=soon"}, []string{"DATABASE_URL: has a wrong connect_timeout; write seconds"}},
		{settings{"DATABASE_URL": "postgres://u:c4n4ry@h/db?sslmode=verify-ca&sslrootcert=/c4n4ry"}, []string{"DATABASE_URL: names an sslrootcert that cannot be read"}},
		{settings{"DATABASE_URL": "postgres://u:c4n4ry@h/db?sslcert=/c4n4ry&sslkey=/c4n4ry"}, []string{"DATABASE_URL: has an sslcert or sslkey that cannot be used"}},
		{settings{"DATABASE_URL": "postgres://u:c4n4ry@h/db?pool_max_conns=many"}, []string{"DATABASE_URL: has a wrong pool_ setting"}},
		{settings{"DATABASE_URL": "host=h user=u password=c4n4ry' dbname"}, []string{"DATABASE_URL: cannot be parsed; " + howToWrite}},
		{settings{"DATABASE_URL": "postgres://u:c4n4ry@h\n/db"}, []string{"DATABASE_URL: has no usable host; " + howToWrite}},
		{settings{"DATABASE_URL": "", "SUPABASE_URL": "https://abcdefghijklmnopqrst.supabase.co"}, []string{"SUPABASE_DB_PASSWORD: missing; SUPABASE_URL alone does not open the database"}},
		{settings{"DATABASE_URL": "", "SUPABASE_DB_PASSWORD": "c4n4ry", "SUPABASE_URL": "nonsense"}, []string{"SUPABASE_URL: must be the project's address, https://<ref>.supabase.co"}},
		{settings{"DATABASE_URL": "", "SUPABASE_DB_PASSWORD": "c4n4ry", "SUPABASE_URL": "https://api.example.com"}, []string{"SUPABASE_URL: does not tell the project; use https://<ref>.supabase.co, or set DATABASE_URL"}},
		{settings{"DATABASE_URL": "", "SUPABASE_DB_PASSWORD": "c4n4ry", "SUPABASE_URL": "https://UPPER_case.supabase.co"}, []string{"SUPABASE_URL: must be the project's address, https://<ref>.supabase.co"}},
		{settings{"DATABASE_URL": "", "SUPABASE_DB_PASSWORD": "c4n4ry", "SUPABASE_POOLER_HOST": "https://x/", "SUPABASE_URL": "https://abcdefghijklmnopqrst.supabase.co"}, []string{"SUPABASE_POOLER_HOST: must be a host name, optionally with a port, such as aws-0-eu-central-1.pooler.supabase.com"}},
		{settings{"DATABASE_URL": "", "SUPABASE_SERVICE_KEY": "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJzdXBhYmFzZSIsInJlZiI6ImFiY2RlZmdoaWprbG1ub3BxcnN0Iiwicm9sZSI6InNlcnZpY2Vfcm9sZSJ9.c2ln", "SUPABASE_URL": "https://zzzzzzzzzzzzzzzzzzzz.supabase.co"}, []string{"SUPABASE_SERVICE_KEY: belongs to another project than SUPABASE_URL"}},
		{settings{"DATABASE_URL": "", "DB_POOL_MAX": "x", "DB_QUERY_TIMEOUT": "y", "DB_SLOW_QUERY": "z"}, []string{"DB_POOL_MAX: " + notNumber, "DB_QUERY_TIMEOUT: " + notDuration, "DB_SLOW_QUERY: " + notDuration}},
	},
	"rediscache": {
		{settings{"REDIS_PORT": "c4n4ry"}, []string{"REDIS_PORT: " + notNumber}},
		{settings{"REDIS_PORT": "70000"}, []string{"REDIS_PORT: must be between 1 and 65535"}},
		{settings{"REDIS_PORT": "-1"}, []string{"REDIS_PORT: must be between 1 and 65535"}},
		{settings{"REDIS_HOST": "redis://u:c4n4ry@h"}, []string{"REDIS_HOST: is not a host name; a whole URL belongs into REDIS_URL"}},
		{settings{"REDIS_DB": "-1"}, []string{"REDIS_DB: must be 0 or more"}},
		{settings{"REDIS_DB": "first"}, []string{"REDIS_DB: " + notNumber}},
		{settings{"REDIS_REQUIRED": "maybe"}, []string{"REDIS_REQUIRED: " + notBool}},
		{settings{"REDIS_TIMEOUT": "-1"}, []string{"REDIS_TIMEOUT: must be 1 ms or more"}},
		{settings{"REDIS_TIMEOUT": "fast"}, []string{"REDIS_TIMEOUT: " + notDuration}},
		{settings{"REDIS_TIMEOUT": "1us"}, []string{"REDIS_TIMEOUT: must be 1 ms or more"}},
		{settings{"REDIS_DIAL_TIMEOUT": "-5s"}, []string{"REDIS_DIAL_TIMEOUT: must be 1 ms or more"}},
		{settings{"REDIS_POOL_SIZE": "-5"}, []string{"REDIS_POOL_SIZE: must be 1 or more; leave it unset for the default"}},
		{settings{"REDIS_POOL_MIN_IDLE": "5", "REDIS_POOL_SIZE": "4"}, []string{"REDIS_POOL_MIN_IDLE: must not exceed REDIS_POOL_SIZE"}},
		{settings{"REDIS_POOL_MIN_IDLE": "few"}, []string{"REDIS_POOL_MIN_IDLE: " + notNumber}},
		{settings{"REDIS_CONN_MAX_IDLE": "4min"}, []string{"REDIS_CONN_MAX_IDLE: " + notDuration}},
		{settings{"REDIS_CONN_MAX_LIFETIME": "long"}, []string{"REDIS_CONN_MAX_LIFETIME: " + notDuration}},
		{settings{"REDIS_NEAR_BYTES": "-1"}, []string{"REDIS_NEAR_BYTES: must be 1 or more; leave it unset for the default"}},
		{settings{"REDIS_NEAR_BYTES": "64MB"}, []string{"REDIS_NEAR_BYTES: " + notNumber}},
		{settings{"REDIS_MAX_VALUE_BYTES": "-1"}, []string{"REDIS_MAX_VALUE_BYTES: must be 1 or more; leave it unset for the default"}},
		{settings{"REDIS_MAX_REPLY_BYTES": "1024", "REDIS_MAX_VALUE_BYTES": "2048"}, []string{"REDIS_MAX_VALUE_BYTES: must not exceed REDIS_MAX_REPLY_BYTES, or such a value could not be read back"}},
		{settings{"REDIS_MAX_REPLY_BYTES": "9999999999999999999"}, []string{"REDIS_MAX_REPLY_BYTES: " + notNumber}},
		{settings{"REDIS_ADDRS": "c4n4ry"}, []string{"REDIS_ADDRS: each must be host:port, separated by commas"}},
		{settings{"REDIS_ADDRS": "a:1,b:0"}, []string{"REDIS_ADDRS: each must be host:port, separated by commas"}},
		{settings{"REDIS_ADDRS": "a:1", "REDIS_DB": "1"}, []string{"REDIS_DB: must be 0 with a Cluster, which has no other"}},
		{settings{"REDIS_ADDRS": "a:1", "REDIS_CLUSTER": "true", "REDIS_MASTER_NAME": "m"}, []string{"REDIS_CLUSTER: excludes REDIS_MASTER_NAME; a Cluster has no Sentinels"}},
		{settings{"REDIS_MASTER_NAME": "c4n4ry"}, []string{"REDIS_MASTER_NAME: needs REDIS_ADDRS, the host:port of the Sentinels"}},
		{settings{"REDIS_CLUSTER": "sure"}, []string{"REDIS_CLUSTER: " + notBool}},
		{settings{"REDIS_CLUSTER": "1", "REDIS_URL": "redis://:c4n4ry@h/1"}, []string{"REDIS_DB: must be 0 with a Cluster, which has no other"}},
		{settings{"REDIS_ADDRS": "a:1", "REDIS_URL": "redis://:c4n4ry@h"}, []string{"REDIS_URL: excludes REDIS_ADDRS; unset one of them"}},
		{settings{"REDIS_URL": "c4n4ry"}, []string{"REDIS_URL: must begin with redis://, rediss:// or unix://"}},
		{settings{"REDIS_URL": "http://u:c4n4ry@h"}, []string{"REDIS_URL: must begin with redis://, rediss:// or unix://"}},
		{settings{"REDIS_URL": "redis://u:c4n4ry@h:port"}, []string{"REDIS_URL: is not a URL; write redis://user:password@host:6379/0, and percent-encode special characters of the password (@ as %40, / as %2F, # as %23)"}},
		{settings{"REDIS_URL": "redis://u:c4n#4ry@h"}, []string{"REDIS_URL: is not a URL; write redis://user:password@host:6379/0, and percent-encode special characters of the password (@ as %40, / as %2F, # as %23)"}},
		{settings{"REDIS_URL": "redis://u:c4n4ry@h/first"}, []string{"REDIS_URL: must end in a database number, such as /0, or in nothing"}},
		{settings{"REDIS_URL": "redis://u:c4n4ry@h/0?timeout=c4n4ry"}, []string{"REDIS_URL: has an unknown or repeated parameter; only db=N is known; other settings have variables of their own"}},
		{settings{"REDIS_URL": "redis://u:c4n4ry@:99999"}, []string{"REDIS_URL: names no host, or an impossible port; percent-encode special characters of the password"}},
		{settings{"REDIS_URL": "unix://c4n4ry"}, []string{"REDIS_URL: must name a socket's path, as in unix:///run/redis/redis.sock?db=0"}},
		{settings{"REDIS_URL": "redis://u:c4n4ry@h:6379/0?db=1"}, []string{"REDIS_URL: must end in a database number, such as /0, or in nothing"}},
		{settings{"REDIS_TLS": "on please"}, []string{"REDIS_TLS: " + notBool}},
		{settings{"REDIS_TLS": "true", "REDIS_TLS_CA": "/c4n4ry"}, []string{"REDIS_TLS_CA: cannot be read; it must be a file of PEM certificates"}},
		{settings{"REDIS_TLS": "true", "REDIS_TLS_CERT": "/c4n4ry"}, []string{"REDIS_TLS_KEY: and REDIS_TLS_CERT belong together; set both or none"}},
		{settings{"REDIS_TLS": "true", "REDIS_TLS_CERT": "/c4n4ry", "REDIS_TLS_KEY": "/c4n4ry"}, []string{"REDIS_TLS_CERT: cannot be used with REDIS_TLS_KEY; both must be readable PEM files that belong together"}},
		{settings{"REDIS_TLS_SERVER_NAME": "c4n4ry"}, []string{"REDIS_TLS: must be true (or REDIS_URL begin with rediss://) for the other REDIS_TLS_ variables to have an effect"}},
		{settings{"REDIS_TLS_SKIP_VERIFY": "true"}, []string{"REDIS_TLS: must be true (or REDIS_URL begin with rediss://) for the other REDIS_TLS_ variables to have an effect"}},
		{settings{"REDIS_TLS": "true", "REDIS_TLS_CA": "EMPTY"}, []string{"REDIS_TLS_CA: cannot be read; it must be a file of PEM certificates"}},
		{settings{"REDIS_DB": "-1", "REDIS_PORT": "x", "REDIS_TIMEOUT": "y", "REDIS_URL": "http://c4n4ry"}, []string{"REDIS_PORT: " + notNumber, "REDIS_TIMEOUT: " + notDuration, "REDIS_URL: must begin with redis://, rediss:// or unix://", "REDIS_DB: must be 0 or more"}},
	},
	"session": {
		{settings{"APP_ENV": "production"}, []string{"SESSION_SECRET: is needed in production; " + makeSecret}},
		{settings{"APP_ENV": "production", "SESSION_SECRET": "c4n4ry"}, []string{"SESSION_SECRET: must have 32 characters or more in production; " + makeSecret}},
		{settings{"APP_ENV": "Production", "SESSION_SECRET": "your-secret-key-here"}, []string{"SESSION_SECRET: is, or contains, a well-known example; " + makeSecret}},
		{settings{"APP_ENV": "production", "SESSION_SECRET": "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"}, []string{"SESSION_SECRET: repeats a few characters; " + makeSecret}},
		{settings{"APP_ENV": "production", "SESSION_SECRET": "8f2b64c0a9d35e17f4c86b20d9e1573a,c4n4ry"}, []string{"SESSION_SECRET: must have 32 characters or more in production; " + makeSecret}},
		{settings{"SESSION_NAME": "a b"}, []string{"SESSION_NAME: must be letters, digits and any of !#$%&'*+-.^_`|~"}},
		{settings{"SESSION_NAME": "a;c4n4ry"}, []string{"SESSION_NAME: must be letters, digits and any of !#$%&'*+-.^_`|~"}},
		{settings{"SESSION_DOMAIN": "example.org", "SESSION_NAME": "__Host-a"}, []string{"SESSION_NAME: __Host- excludes SESSION_DOMAIN and any SESSION_PATH but /; drop one of them"}},
		{settings{"SESSION_IDLE_TIMEOUT": "soon"}, []string{"SESSION_IDLE_TIMEOUT: " + notDuration}},
		{settings{"SESSION_IDLE_TIMEOUT": "500"}, []string{"SESSION_IDLE_TIMEOUT: must be 1s or more"}},
		{settings{"SESSION_LIFETIME": "1m"}, []string{"SESSION_LIFETIME: must not be less than SESSION_IDLE_TIMEOUT; negative means never"}},
		{settings{"SESSION_LIFETIME": "a day"}, []string{"SESSION_LIFETIME: " + notDuration}},
		{settings{"SESSION_REGENERATE_EVERY": "10s"}, []string{"SESSION_REGENERATE_EVERY: must not be less than SESSION_REGENERATE_GRACE; negative means never"}},
		{settings{"SESSION_REGENERATE_EVERY": "often"}, []string{"SESSION_REGENERATE_EVERY: " + notDuration}},
		{settings{"SESSION_REGENERATE_GRACE": "-1"}, []string{"SESSION_REGENERATE_GRACE: must not be negative"}},
		{settings{"SESSION_REGENERATE_GRACE": "none"}, []string{"SESSION_REGENERATE_GRACE: " + notDuration}},
		{settings{"SESSION_TOUCH_EVERY": "29m"}, []string{"SESSION_TOUCH_EVERY: must be at most half of SESSION_IDLE_TIMEOUT, or sessions in use would expire"}},
		{settings{"SESSION_TOUCH_EVERY": "-1"}, []string{"SESSION_TOUCH_EVERY: must be at most half of SESSION_IDLE_TIMEOUT, or sessions in use would expire"}},
		{settings{"SESSION_DOMAIN": "https://example.org"}, []string{"SESSION_DOMAIN: must be a host name such as example.org"}},
		{settings{"SESSION_PATH": "app"}, []string{"SESSION_PATH: must begin with /, and hold no semicolon, quote or line break"}},
		{settings{"SESSION_PATH": "/;c4n4ry"}, []string{"SESSION_PATH: must begin with /, and hold no semicolon, quote or line break"}},
		{settings{"SESSION_SAMESITE": "perhaps"}, []string{"SESSION_SAMESITE: must be lax, strict or none"}},
		{settings{"SESSION_HOST_PREFIX": "ja"}, []string{"SESSION_HOST_PREFIX: " + notBool}},
		{settings{"SESSION_PARTITIONED": "ja"}, []string{"SESSION_PARTITIONED: " + notBool}},
		{settings{"SESSION_PERSISTENT": "ja"}, []string{"SESSION_PERSISTENT: " + notBool}},
		{settings{"SESSION_TRUSTED_PROXIES": "everybody"}, []string{"SESSION_TRUSTED_PROXIES: each must be an address such as 10.0.0.1 or a network such as 10.0.0.0/8, separated by commas"}},
		{settings{"SESSION_TRUSTED_PROXIES": "10.0.0.0/8,10.0.0.0/99"}, []string{"SESSION_TRUSTED_PROXIES: each must be an address such as 10.0.0.1 or a network such as 10.0.0.0/8, separated by commas"}},
		{settings{"SESSION_PREFIX": "{c4n4ry}"}, []string{"SESSION_PREFIX: must not hold braces, which say where a Cluster keeps a key, or blanks"}},
		{settings{"SESSION_MAX_BYTES": "1"}, []string{"SESSION_MAX_BYTES: must be 256 or more; leave it unset for the default"}},
		{settings{"SESSION_MAX_BYTES": "64KB"}, []string{"SESSION_MAX_BYTES: " + notNumber}},
		{settings{"SESSION_MAX_PER_USER": "-1"}, []string{"SESSION_MAX_PER_USER: must be 0 (any number) or more"}},
		{settings{"SESSION_MAX_PER_USER": "one"}, []string{"SESSION_MAX_PER_USER: " + notNumber}},
		{settings{"SESSION_TIMEOUT": "-1"}, []string{"SESSION_TIMEOUT: must be 1ms or more"}},
		{settings{"SESSION_TIMEOUT": "1us"}, []string{"SESSION_TIMEOUT: must be 1ms or more"}},
		{settings{"SESSION_FALLBACK": "hope"}, []string{"SESSION_FALLBACK: must be memory, read-only or off"}},
		{settings{"SESSION_MEMORY_BYTES": "100"}, []string{"SESSION_MEMORY_BYTES: must be 65536 or more; leave it unset for the default"}},
		{settings{"SESSION_LOCAL_CACHE": "1h"}, []string{"SESSION_LOCAL_CACHE: must be between 0 (off) and 1m"}},
		{settings{"SESSION_LOCAL_CACHE": "-1"}, []string{"SESSION_LOCAL_CACHE: must be between 0 (off) and 1m"}},
		{settings{"SESSION_NAME": "a b", "SESSION_SAMESITE": "perhaps", "SESSION_TIMEOUT": "x"}, []string{"SESSION_TIMEOUT: " + notDuration, "SESSION_NAME: must be letters, digits and any of !#$%&'*+-.^_`|~", "SESSION_SAMESITE: must be lax, strict or none"}},
	},
}

// good is what each package needs, for the mistakes to stand out.
var good = map[string]settings{"pgpool": {"DATABASE_URL": "postgres://u:c4n4ry@h/db"}}

func TestBadEnvironment(t *testing.T) {
	rows := 0
	for pkg, list := range badEnv {
		for i, c := range list {
			rows++
			t.Run(fmt.Sprintf("%s/%d", pkg, i), func(t *testing.T) {
				forgetEnv(t)
				for name, value := range good[pkg] {
					t.Setenv(name, value)
				}
				for name, value := range c.env {
					t.Setenv(name, value)
				}
				err := fromEnv[pkg]()
				if want := text(pkg, c.want); err == nil || err.Error() != want {
					t.Fatalf("%v:\n got %v\nwant %s", c.env, err, want)
				}
				if !errors.Is(err, kinds[pkg]) {
					t.Errorf("%v: the error is no ErrInvalidConfig", c.env)
				}
				for name, value := range c.env {
					if strings.Contains(err.Error(), "c4n4ry") || len(value) > 4 && name != "APP_ENV" && strings.Contains(err.Error(), value) {
						t.Errorf("%s: the error shows the value", name)
					}
				}
			})
		}
	}
	if rows < 60 {
		t.Errorf("%d rows, want 60 or more", rows)
	}
}

// forgetEnv empties what this machine has set, which is the same as unset.
func forgetEnv(t *testing.T) {
	t.Helper()
	ours := regexp.MustCompile(`^(DB_|DATABASE_URL|SUPABASE_|REDIS_|SESSION_|APP_|PG)`)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); ours.MatchString(name) {
			t.Setenv(name, "")
		}
	}
}

// text is how a package reports its problems.
func text(pkg string, problems []string) string {
	if len(problems) == 1 {
		return pkg + ": invalid config: " + problems[0]
	}
	return pkg + ": invalid config:\n\t" + strings.Join(problems, "\n\t")
}

// TestBadConfig is about what no variable can say.
func TestBadConfig(t *testing.T) {
	t.Parallel()
	garbage := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(garbage, []byte("c4n4ry"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "postgres://u:c4n4ry@h/db"
	for _, c := range []struct {
		pkg  string
		err  error
		want []string
	}{
		{"pgpool", errOf(pgpool.New(pgpool.Config{URL: url, AppName: "a\x00"})), []string{"APP_NAME: must not contain a NUL byte"}},
		{"pgpool", errOf(pgpool.New(pgpool.Config{URL: "postgres://u:c4n4ry@h\x00/db"})), []string{"DATABASE_URL: cannot be parsed; " + howToWrite}},
		{
			"pgpool", errOf(pgpool.New(pgpool.Config{URL: "c4n4ry", MaxConns: -1, PoolMode: "none", ReplicaURLs: []string{"c4n4ry"}})),
			[]string{
				"DB_POOL_MAX: must be 1 or more; the default is 20", "DB_POOL_MODE: must be auto, direct, session or transaction",
				"DATABASE_URL: is not a connection string; " + howToWrite, "DB_REPLICA_URLS: is not a connection string; " + howToWrite,
			},
		},
		{"rediscache", errOf(rediscache.New(rediscache.Config{TLS: true, TLSCAFile: garbage})), []string{"REDIS_TLS_CA: holds no PEM certificates"}},
		{"rediscache", errOf(rediscache.New(rediscache.Config{Host: "h\r\nFLUSHALL"})), []string{"REDIS_HOST: is not a host name; a whole URL belongs into REDIS_URL"}},
		{"session", errOf(session.New(nil, session.Config{Secrets: []string{"c4n4ry", ""}})), []string{"SESSION_SECRET: must not hold an empty secret"}},
		{"session", errOf(session.New(nil, session.Config{Name: "a\r\nSet-Cookie: c4n4ry"})), []string{"SESSION_NAME: must be letters, digits and any of !#$%&'*+-.^_`|~"}},
		{"health", errOf(health.New(health.Config{Interval: -1})), []string{"Config.Interval: is negative; use a positive duration, or 0 for the default"}},
		{
			"health", errOf(health.New(health.Config{Interval: -1, FailingInterval: -1, Timeout: -1})),
			[]string{
				"Config.Interval: is negative; use a positive duration, or 0 for the default",
				"Config.FailingInterval: is negative; use a positive duration, or 0 for the default",
				"Config.Timeout: is negative; use a positive duration, or 0 for the default",
			},
		},
		{"lifecycle", errOf(lifecycle.New(lifecycle.Config{}, lifecycle.WithDrain(-1, nil))), []string{"WithDrain: the delay is negative; use 0 for none"}},
		{
			"lifecycle", errOf(lifecycle.New(lifecycle.Config{StopBudget: time.Second}, lifecycle.WithDrain(time.Second, nil))),
			[]string{"WithDrain: the delay of 1s leaves nothing of Config.StopBudget, 1s; make the budget longer"},
		},
	} {
		if want := text(c.pkg, c.want); c.err == nil || c.err.Error() != want || !errors.Is(c.err, kinds[c.pkg]) {
			t.Errorf("%s:\n got %v\nwant %s", c.pkg, c.err, want)
		}
	}
}

// TestBadEnvironmentAtOnce shows that a host learns all of it in one go.
func TestBadEnvironmentAtOnce(t *testing.T) {
	forgetEnv(t)
	for name, value := range (settings{"DB_POOL_MAX": "c4n4ry", "REDIS_PORT": "c4n4ry", "SESSION_TIMEOUT": "c4n4ry"}) {
		t.Setenv(name, value)
	}
	_, err1 := pgpool.ConfigFromEnv()
	_, err2 := rediscache.ConfigFromEnv()
	_, err3 := session.ConfigFromEnv()
	want := text("pgpool", []string{"DB_POOL_MAX: " + notNumber}) + "\n" + text("rediscache", []string{"REDIS_PORT: " + notNumber}) + "\n" +
		text("session", []string{"SESSION_TIMEOUT: " + notDuration})
	if err := errors.Join(err1, err2, err3); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func errOf[T any](_ T, err error) error { return err }
