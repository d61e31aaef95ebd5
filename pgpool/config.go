package pgpool

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/pedro-go/pedro/internal/env"
)

// Defaults of Config.
const (
	// DefaultMaxConns is where the throughput of small transactions peaked on
	// two cores; more connections made them slower, not faster.
	DefaultMaxConns int32 = 20
	DefaultMinConns int32 = 2

	DefaultIdleTimeout      = 30 * time.Second
	DefaultConnectTimeout   = 10 * time.Second
	DefaultStatementTimeout = 30 * time.Second
	DefaultQueryTimeout     = 30 * time.Second
	// DefaultMaxLifetime is below what poolers and NAT gateways commonly allow.
	DefaultMaxLifetime  = 30 * time.Minute
	DefaultIdleInTx     = time.Minute
	DefaultSlowQuery    = 500 * time.Millisecond
	DefaultAppName      = "pedro-backend"
	DefaultMaxLag       = 10 * time.Second
	DefaultReplicaWait  = 50 * time.Millisecond
	DefaultSupabaseUser = "postgres"
)

// Config says where the database is and how the pool behaves. Durations of
// environment variables are milliseconds ("30000") or have a unit ("30s"). A
// zero field means its default; a negative duration means "off" where that is
// said.
type Config struct {
	// URL is the connection string, as a URL or as keyword=value pairs, with
	// everything that pgx and libpq understand (several hosts,
	// target_session_attrs, sslmode and so on). It wins over the Supabase
	// fields. What other drivers add (pgbouncer, connection_limit, schema,
	// sslmode=no-verify …) is understood or dropped. To a public host, TLS is
	// demanded unless sslmode says otherwise.
	URL string `envconfig:"DATABASE_URL" secret:"url"`

	// SupabaseURL is the project's address, https://<ref>.supabase.co. With a
	// password it is enough to reach the database: directly, which needs IPv6,
	// or through SupabasePoolerHost.
	SupabaseURL string `envconfig:"SUPABASE_URL"`
	// SupabasePassword is the password of the database user postgres.
	SupabasePassword string `envconfig:"SUPABASE_DB_PASSWORD" secret:"true"`
	// SupabaseServiceKey is taken as the password if SupabasePassword is empty.
	// If it is a JWT its project must be that of SupabaseURL.
	SupabaseServiceKey string `envconfig:"SUPABASE_SERVICE_KEY" secret:"true"`
	// SupabasePoolerHost is the pooler of the project, such as
	// aws-0-eu-central-1.pooler.supabase.com, optionally with a port: 5432 for
	// session mode (the default), 6543 for transaction mode. It cannot be
	// derived; the dashboard shows it under "Connect".
	SupabasePoolerHost string `envconfig:"SUPABASE_POOLER_HOST"`

	// MaxConns limits the connections to the primary, and to each replica. The
	// default is 20.
	MaxConns int32 `envconfig:"DB_POOL_MAX"`
	// MinConns are kept open even when idle. The default is 2; negative means 0.
	MinConns int32 `envconfig:"DB_POOL_MIN"`
	// IdleTimeout closes connections above MinConns that were idle for so
	// long. The default is 30 s.
	IdleTimeout time.Duration `envconfig:"DB_IDLE_TIMEOUT"`
	// ConnectTimeout bounds the wait for a connection: for a free one, for
	// dialing, and for a server that is away or restarting. The default is 10 s.
	ConnectTimeout time.Duration `envconfig:"DB_CONNECTION_TIMEOUT"`
	// StatementTimeout is PostgreSQL's statement_timeout. Behind a transaction
	// pooler, which refuses it as a setting, it is set in each transaction, and
	// bounds single statements from the client's side. The default is 30 s;
	// negative means none.
	StatementTimeout time.Duration `envconfig:"DB_STATEMENT_TIMEOUT"`
	// QueryTimeout is the client's own limit of a statement, for a server that
	// does not answer any more: it is cancelled, and one second later the
	// connection is given up. The default is 30 s; negative means none.
	QueryTimeout time.Duration `envconfig:"DB_QUERY_TIMEOUT"`
	// MaxLifetime closes connections of that age, plus up to a tenth so that
	// they do not all end at once. The default is 30 min; negative means never.
	MaxLifetime time.Duration `envconfig:"DB_MAX_LIFETIME"`
	// IdleInTxTimeout is PostgreSQL's idle_in_transaction_session_timeout: a
	// forgotten transaction must not keep its locks. It is not set behind a
	// transaction pooler. The default is 1 min; negative means none.
	IdleInTxTimeout time.Duration `envconfig:"DB_IDLE_IN_TRANSACTION_TIMEOUT"`
	// SlowQuery logs statements that take longer, and again while they still
	// run. The default is 500 ms; negative means never.
	SlowQuery time.Duration `envconfig:"DB_SLOW_QUERY"`

	// AppName is shown in pg_stat_activity. The default is pedro-backend; an
	// application_name in the URL wins.
	AppName string `envconfig:"APP_NAME"`
	// PoolMode tells what stands between us and PostgreSQL. The default, auto,
	// finds out.
	PoolMode PoolMode `envconfig:"DB_POOL_MODE"`

	// ReplicaURLs are the connection strings of read replicas, used by
	// Replica.
	ReplicaURLs []string `envconfig:"DB_REPLICA_URLS" secret:"url"`
	// ReplicaMaxLag takes a replica out while it is further behind. The default
	// is 10 s; negative means any lag will do.
	ReplicaMaxLag time.Duration `envconfig:"DB_REPLICA_MAX_LAG"`
	// ReplicaWait is how long a read that must see an earlier write (see Token)
	// waits for a replica to have it, before it goes to the primary. The
	// default is 50 ms; negative means not at all.
	ReplicaWait time.Duration `envconfig:"DB_REPLICA_WAIT"`
}

// ConfigFromEnv reads the Config from the environment variables named in its
// tags. Its error lists every malformed variable by name, never by value, and
// wraps ErrInvalidConfig. What is missing or contradictory is reported by New.
func ConfigFromEnv() (Config, error) {
	var cfg Config
	var p env.Problems
	p.AddErr(env.Load(&cfg))
	return cfg, p.Err(ErrInvalidConfig)
}

// String shows the settings, without secrets.
func (c Config) String() string { return env.Format(c) }

// GoString is String, so that %#v shows no secret either.
func (c Config) GoString() string { return "pgpool.Config" + env.Format(c) }

// LogValue is String for log/slog.
func (c Config) LogValue() slog.Value { return env.LogValue(c) }

// MarshalJSON renders the settings for encoding/json, without secrets.
func (c Config) MarshalJSON() ([]byte, error) { return env.MarshalJSON(c) }

// String renders the settings, without secrets: what prints or logs the pool
// itself would else show all that it holds.
func (p *Pool) String() string { return "pgpool.Pool" + p.cfg.String() }

// GoString is String.
func (p *Pool) GoString() string { return p.String() }

func (c Config) withDefaults() Config {
	c.ReplicaURLs = slices.Clone(c.ReplicaURLs)
	c.MaxConns = cmp.Or(c.MaxConns, DefaultMaxConns)
	c.MinConns = max(cmp.Or(c.MinConns, min(DefaultMinConns, c.MaxConns)), 0)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, DefaultIdleTimeout)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, DefaultConnectTimeout)
	c.StatementTimeout = cmp.Or(c.StatementTimeout, DefaultStatementTimeout)
	c.QueryTimeout = cmp.Or(c.QueryTimeout, DefaultQueryTimeout)
	c.MaxLifetime = cmp.Or(c.MaxLifetime, DefaultMaxLifetime)
	c.IdleInTxTimeout = cmp.Or(c.IdleInTxTimeout, DefaultIdleInTx)
	c.SlowQuery = cmp.Or(c.SlowQuery, DefaultSlowQuery)
	c.ReplicaMaxLag = cmp.Or(c.ReplicaMaxLag, DefaultMaxLag)
	c.ReplicaWait = cmp.Or(c.ReplicaWait, DefaultReplicaWait)
	c.AppName = cmp.Or(c.AppName, DefaultAppName)
	c.PoolMode = PoolMode(strings.ToLower(string(cmp.Or(c.PoolMode, PoolModeAuto))))
	return c
}

// validate looks at the plain values; the connection strings are looked at
// where they are parsed.
func (c Config) validate(p *env.Problems) {
	if c.MaxConns < 1 {
		p.Add("DB_POOL_MAX", "must be 1 or more; the default is %d", DefaultMaxConns)
	}
	if c.MaxConns >= 1 && c.MinConns > c.MaxConns {
		p.Add("DB_POOL_MIN", "must not exceed DB_POOL_MAX (%d)", c.MaxConns)
	}
	if c.IdleTimeout < 0 {
		p.Add("DB_IDLE_TIMEOUT", "must be positive; the default is %v", DefaultIdleTimeout)
	}
	if c.ConnectTimeout < 0 {
		p.Add("DB_CONNECTION_TIMEOUT", "must be positive; the default is %v", DefaultConnectTimeout)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"DB_STATEMENT_TIMEOUT", c.StatementTimeout},
		{"DB_QUERY_TIMEOUT", c.QueryTimeout},
		{"DB_IDLE_IN_TRANSACTION_TIMEOUT", c.IdleInTxTimeout},
	} {
		if d.value > 0 && d.value < time.Millisecond {
			p.Add(d.name, "must be 1 ms or more, or negative for none")
		}
	}
	if strings.ContainsRune(c.AppName, 0) {
		p.Add("APP_NAME", "must not contain a NUL byte")
	}
	if !c.PoolMode.valid() {
		p.Add("DB_POOL_MODE", "must be auto, direct, session or transaction")
	}
}
