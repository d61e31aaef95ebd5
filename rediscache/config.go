package rediscache

import (
	"cmp"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pedro-go/pedro/internal/env"
)

// The defaults of [Config].
const (
	DefaultHost    = "localhost"
	DefaultPort    = 6379
	DefaultAppName = "pedro-backend"

	// DefaultTimeout leaves a call and its clean-up within 250 ms. A server in
	// the same region answers in about a millisecond; one that needs longer
	// than this is of no use as a cache.
	DefaultTimeout = 200 * time.Millisecond
	// DefaultDialTimeout bounds DNS, TCP and TLS of a new connection. It works
	// in the background: no call waits longer than its own limit for it.
	DefaultDialTimeout = 5 * time.Second
	// DefaultMinPoolSize is the pool size on machines with few cores; larger
	// pools gained nothing in measurements.
	DefaultMinPoolSize = 32
	// DefaultMinIdleConns keeps a few connections open for the first burst.
	DefaultMinIdleConns = 2
	// DefaultConnMaxIdleTime is below the 5 to 10 minutes after which cloud
	// load balancers drop idle connections.
	DefaultConnMaxIdleTime = 4 * time.Minute
	// DefaultConnMaxLifetime follows DNS changes and gets away from a proxy
	// that hides a demoted master; 10 % of jitter spreads the renewals.
	DefaultConnMaxLifetime = 30 * time.Minute

	DefaultNearBytes     = 64 << 20
	DefaultMaxValueBytes = 8 << 20
	// DefaultMaxReplyBytes is far above any value that a cache should hold and
	// far below what would endanger the process.
	DefaultMaxReplyBytes = 64 << 20
)

// Config is how to reach Redis and what the cache may use. It is plain data;
// the zero value means the defaults: Redis on localhost:6379, not required.
//
// Exactly one of three ways names the servers: URL, or Host and Port, or Addrs
// (with MasterName: Sentinel; without: Cluster).
type Config struct {
	// URL is redis://, rediss:// (TLS) or unix://, with user, password and
	// database: rediss://user:password@host:6380/0, unix:///run/redis.sock?db=1.
	// Set, it wins over Host, Port, Username, Password, DB and TLS.
	URL string `envconfig:"REDIS_URL" secret:"url"`

	// Host and Port are those of one server. The defaults are [DefaultHost] and
	// [DefaultPort].
	Host string `envconfig:"REDIS_HOST"`
	Port int    `envconfig:"REDIS_PORT"`
	// Username is the ACL user. Empty means the server's default user.
	Username string `envconfig:"REDIS_USERNAME"`
	// Password is empty for a server without authentication. See
	// [WithCredentials] for passwords that change.
	Password string `envconfig:"REDIS_PASSWORD" secret:"true"`
	// DB is the number of the database, 0 by default. A cluster has only 0.
	DB int `envconfig:"REDIS_DB"`

	// Required decides what [Cache.Start] does while Redis is away: wait for it
	// until its context is done and then fail (true), or succeed at once and
	// let the cache join Redis later (false, the default).
	Required bool `envconfig:"REDIS_REQUIRED"`

	// Addrs are host:port of some nodes of a Cluster or, with MasterName, of
	// the Sentinels.
	Addrs []string `envconfig:"REDIS_ADDRS"`
	// MasterName is the name under which the Sentinels know the master.
	MasterName string `envconfig:"REDIS_MASTER_NAME"`
	// Cluster says that URL or Host is a node of a Cluster, where Addrs is not
	// set: some providers give one configuration endpoint.
	Cluster bool `envconfig:"REDIS_CLUSTER"`
	// SentinelUsername and SentinelPassword log in to the Sentinels themselves.
	SentinelUsername string `envconfig:"REDIS_SENTINEL_USERNAME"`
	SentinelPassword string `envconfig:"REDIS_SENTINEL_PASSWORD" secret:"true"`

	// TLS switches TLS on where no rediss:// URL does. The server's certificate
	// is always verified unless TLSSkipVerify says otherwise.
	TLS bool `envconfig:"REDIS_TLS"`
	// TLSCAFile holds the PEM certificates to trust instead of the system's.
	TLSCAFile string `envconfig:"REDIS_TLS_CA"`
	// TLSCertFile and TLSKeyFile are the client's certificate and key, PEM.
	TLSCertFile string `envconfig:"REDIS_TLS_CERT"`
	TLSKeyFile  string `envconfig:"REDIS_TLS_KEY"`
	// TLSServerName is the name to verify. The default is the host dialed.
	TLSServerName string `envconfig:"REDIS_TLS_SERVER_NAME"`
	// TLSSkipVerify accepts any certificate, and so any man in the middle. It
	// is for experiments.
	TLSSkipVerify bool `envconfig:"REDIS_TLS_SKIP_VERIFY"`

	// AppName is the client name that CLIENT LIST shows. The default is
	// [DefaultAppName].
	AppName string `envconfig:"APP_NAME"`

	// Timeout bounds every command as a whole: waiting for a connection, writing,
	// reading and one retry. A caller's context bounds it further; blocking
	// commands such as BLPOP are exempt. The default is [DefaultTimeout]; raise
	// it if the server is more than some 30 ms away.
	Timeout time.Duration `envconfig:"REDIS_TIMEOUT"`
	// DialTimeout bounds making a connection. The default is
	// [DefaultDialTimeout].
	DialTimeout time.Duration `envconfig:"REDIS_DIAL_TIMEOUT"`
	// PoolSize is the largest number of connections, per node in a Cluster.
	// The default is 10 per CPU, at least [DefaultMinPoolSize]. Pipelines may
	// use up to 10 more, and coherence takes 1.
	PoolSize int `envconfig:"REDIS_POOL_SIZE"`
	// MinIdleConns are kept open. The default is [DefaultMinIdleConns], or
	// PoolSize if that is less; negative means none.
	MinIdleConns int `envconfig:"REDIS_POOL_MIN_IDLE"`
	// ConnMaxIdleTime closes connections that were idle for longer. The default
	// is [DefaultConnMaxIdleTime]; negative means never.
	ConnMaxIdleTime time.Duration `envconfig:"REDIS_CONN_MAX_IDLE"`
	// ConnMaxLifetime closes connections that are older. The default is
	// [DefaultConnMaxLifetime]; negative means never.
	ConnMaxLifetime time.Duration `envconfig:"REDIS_CONN_MAX_LIFETIME"`

	// NearBytes bounds the memory of each namespace's near cache, and of the
	// values kept while Redis is away. The default is [DefaultNearBytes].
	NearBytes int64 `envconfig:"REDIS_NEAR_BYTES"`
	// MaxValueBytes is the largest encoded value that is stored. The default is
	// [DefaultMaxValueBytes], or MaxReplyBytes if that is less.
	MaxValueBytes int64 `envconfig:"REDIS_MAX_VALUE_BYTES"`
	// MaxReplyBytes is the largest string that a server may announce before
	// the connection is dropped instead of memory allocated. The default is
	// [DefaultMaxReplyBytes].
	MaxReplyBytes int64 `envconfig:"REDIS_MAX_REPLY_BYTES"`
}

// ConfigFromEnv reads the variables named in the tags of [Config]. Durations
// are milliseconds as a bare number, or have a unit (250ms, 5s). The error
// wraps [ErrInvalidConfig], lists every variable that is wrong, and shows no
// value.
func ConfigFromEnv() (Config, error) {
	var cfg Config
	var p env.Problems
	p.AddErr(env.Load(&cfg))
	p.AddErr(cfg.validate())
	return cfg, p.Err(ErrInvalidConfig)
}

// String renders the settings that differ from zero, without secrets.
func (c Config) String() string { return env.Format(c) }

// GoString is String, so that %#v shows no secret either.
func (c Config) GoString() string { return "rediscache.Config" + c.String() }

// LogValue renders the settings for slog, without secrets.
func (c Config) LogValue() slog.Value { return env.LogValue(c) }

// MarshalJSON renders the settings for encoding/json, without secrets.
func (c Config) MarshalJSON() ([]byte, error) { return env.MarshalJSON(c) }

// String renders the settings, without secrets: what prints or logs the cache
// itself would else show all that it holds.
func (c *Cache) String() string { return "rediscache.Cache" + c.cfg.String() }

// GoString is String.
func (c *Cache) GoString() string { return c.String() }

// withDefaults is the one place where a zero value becomes its default.
func (c Config) withDefaults() Config {
	c.Addrs = slices.Clone(c.Addrs)
	c.Host = cmp.Or(c.Host, DefaultHost)
	c.Port = cmp.Or(c.Port, DefaultPort)
	c.AppName = cmp.Or(c.AppName, DefaultAppName)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.DialTimeout = cmp.Or(c.DialTimeout, DefaultDialTimeout)
	c.PoolSize = cmp.Or(c.PoolSize, defaultPoolSize())
	c.MinIdleConns = cmp.Or(c.MinIdleConns, min(DefaultMinIdleConns, max(c.PoolSize, 1)))
	c.ConnMaxIdleTime = cmp.Or(c.ConnMaxIdleTime, DefaultConnMaxIdleTime)
	c.ConnMaxLifetime = cmp.Or(c.ConnMaxLifetime, DefaultConnMaxLifetime)
	c.NearBytes = cmp.Or(c.NearBytes, DefaultNearBytes)
	c.MaxReplyBytes = cmp.Or(c.MaxReplyBytes, DefaultMaxReplyBytes)
	c.MaxValueBytes = cmp.Or(c.MaxValueBytes, min(DefaultMaxValueBytes, max(c.MaxReplyBytes, 1)))
	return c
}

// validate reports everything that is wrong, by the name of the variable.
func (c Config) validate() error {
	c = c.withDefaults()
	var p env.Problems
	if c.URL != "" {
		if len(c.Addrs) > 0 {
			p.Add("REDIS_URL", "excludes REDIS_ADDRS; unset one of them")
		}
		if _, err := parseURL(c.URL); err != nil {
			p.Add("REDIS_URL", "%v", err)
		}
	}
	if c.Port < 1 || c.Port > 65535 {
		p.Add("REDIS_PORT", "must be between 1 and 65535")
	}
	if strings.ContainsAny(c.Host, " /@?#\r\n") {
		p.Add("REDIS_HOST", "is not a host name; a whole URL belongs into REDIS_URL")
	} else if _, err := netip.ParseAddr(c.Host); err != nil && strings.ContainsAny(c.Host, "[]:") {
		p.Add("REDIS_HOST", "is not a host name or an IP address; the port belongs into REDIS_PORT, and brackets only into a URL")
	}
	if c.DB < 0 {
		p.Add("REDIS_DB", "must be 0 or more")
	}
	c.validateNodes(&p)
	c.validateTLS(&p)
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"REDIS_TIMEOUT", c.Timeout}, {"REDIS_DIAL_TIMEOUT", c.DialTimeout}} {
		if d.value < time.Millisecond {
			p.Add(d.name, "must be 1 ms or more")
		}
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"REDIS_POOL_SIZE", int64(c.PoolSize)},
		{"REDIS_NEAR_BYTES", c.NearBytes},
		{"REDIS_MAX_VALUE_BYTES", c.MaxValueBytes},
		{"REDIS_MAX_REPLY_BYTES", c.MaxReplyBytes},
	} {
		if n.value < 1 {
			p.Add(n.name, "must be 1 or more; leave it unset for the default")
		}
	}
	if c.PoolSize >= 1 && c.MinIdleConns > c.PoolSize {
		p.Add("REDIS_POOL_MIN_IDLE", "must not exceed REDIS_POOL_SIZE")
	}
	if c.MaxValueBytes > c.MaxReplyBytes {
		p.Add("REDIS_MAX_VALUE_BYTES", "must not exceed REDIS_MAX_REPLY_BYTES, or such a value could not be read back")
	}
	return p.Err(ErrInvalidConfig)
}

func (c Config) validateNodes(p *env.Problems) {
	for _, addr := range c.Addrs {
		host, port, err := net.SplitHostPort(addr)
		n, perr := strconv.Atoi(port)
		if err != nil || host == "" || perr != nil || n < 1 || n > 65535 || strings.ContainsAny(host, "/@?# ") {
			p.Add("REDIS_ADDRS", "each must be host:port, separated by commas")
			break
		}
	}
	if c.MasterName != "" && len(c.Addrs) == 0 {
		p.Add("REDIS_MASTER_NAME", "needs REDIS_ADDRS, the host:port of the Sentinels")
	}
	if c.MasterName != "" && c.Cluster {
		p.Add("REDIS_CLUSTER", "excludes REDIS_MASTER_NAME; a Cluster has no Sentinels")
	}
	cluster := c.Cluster || len(c.Addrs) > 0 && c.MasterName == ""
	db := c.DB
	if u, err := parseURL(c.URL); err == nil {
		db = u.db
	}
	if cluster && db != 0 {
		p.Add("REDIS_DB", "must be 0 with a Cluster, which has no other")
	}
}
