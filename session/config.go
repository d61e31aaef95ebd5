package session

import (
	"cmp"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pedro-go/pedro/internal/env"
)

// The defaults of [Config].
const (
	DefaultName = "pedro.sid"
	// DefaultIdleTimeout and DefaultLifetime are those that NIST SP 800-63B asks
	// of logins with two factors (AAL2): 30 minutes idle, 12 hours in all.
	DefaultIdleTimeout = 30 * time.Minute
	DefaultLifetime    = 12 * time.Hour
	// DefaultRegenerateEvery bounds for how long a stolen cookie is of use to
	// somebody who does not keep using it.
	DefaultRegenerateEvery = time.Hour
	// DefaultRegenerateGrace covers the requests that a page has in flight, and
	// a response that was lost on its way.
	DefaultRegenerateGrace = 30 * time.Second
	DefaultTouchEvery      = time.Minute
	// DefaultTimeout is how long a request may wait for Redis before it is
	// served from memory.
	DefaultTimeout     = 250 * time.Millisecond
	DefaultKeyPrefix   = "session:"
	DefaultMaxBytes    = 64 << 10
	DefaultMemoryBytes = 64 << 20
)

// A Fallback says what happens while Redis is away.
type Fallback string

// The policies for the time while Redis is away.
const (
	// FallbackMemory serves the sessions that this process has seen, makes new
	// ones and keeps writes, all in memory, and merges them into Redis when it
	// is back. A revocation made elsewhere during the outage is seen when it is
	// back.
	FallbackMemory Fallback = "memory"
	// FallbackReadOnly serves the sessions that this process has seen. Changes,
	// logins too, return [ErrUnavailable]; logouts are kept and carried out.
	FallbackReadOnly Fallback = "read-only"
	// FallbackOff fails closed: nobody is known while Redis is away.
	FallbackOff Fallback = "off"
)

// Config is how sessions behave. It is plain data; the zero value means the
// defaults. Its variables are named in the tags.
type Config struct {
	// Secrets are what keys are derived from: the first signs and encrypts, all
	// verify and decrypt, so a new one goes in front and the old one is removed
	// after Lifetime. In production each needs 32 characters or more and must
	// not be a well-known one. Without any, outside of production, New makes one
	// that lasts as long as the process.
	Secrets []string `envconfig:"SESSION_SECRET" secret:"true"`
	// Name is the cookie's. In production, and with HostPrefix, "__Host-" is put
	// in front, or "__Secure-" where Domain or Path forbid it. The default is
	// [DefaultName].
	Name string `envconfig:"SESSION_NAME"`
	// IdleTimeout ends a session that is not used. The default is
	// [DefaultIdleTimeout]. It is exact to TouchEvery.
	IdleTimeout time.Duration `envconfig:"SESSION_IDLE_TIMEOUT"`
	// Lifetime ends a session however much it is used; a login starts it anew,
	// nothing else does. The default is [DefaultLifetime]; negative means never.
	Lifetime time.Duration `envconfig:"SESSION_LIFETIME"`
	// RegenerateEvery gives who is logged in a new ID now and then. The default
	// is [DefaultRegenerateEvery]; negative means never.
	RegenerateEvery time.Duration `envconfig:"SESSION_REGENERATE_EVERY"`
	// RegenerateGrace is how long the ID before leads to the same session. The
	// default is [DefaultRegenerateGrace]. After a login there is none.
	RegenerateGrace time.Duration `envconfig:"SESSION_REGENERATE_GRACE"`
	// TouchEvery is how often use is written down: a session that is only read
	// costs a write at most this often. The default is [DefaultTouchEvery], or
	// a quarter of IdleTimeout if that is less.
	TouchEvery time.Duration `envconfig:"SESSION_TOUCH_EVERY"`

	// Production forces Secure cookies and demands strong secrets. ConfigFromEnv
	// sets it if APP_ENV is production.
	Production bool
	// Domain widens the cookie to subdomains. Empty, the default, is safer.
	Domain string `envconfig:"SESSION_DOMAIN"`
	// Path is the cookie's. The default is "/".
	Path string `envconfig:"SESSION_PATH"`
	// SameSite is lax (the default), strict or none. None needs Secure.
	SameSite string `envconfig:"SESSION_SAMESITE"`
	// HostPrefix asks for the cookie prefix of production elsewhere too. Such a
	// cookie needs https.
	HostPrefix bool `envconfig:"SESSION_HOST_PREFIX"`
	// Partitioned gives embedded pages a cookie of their own for each site that
	// embeds them (CHIPS). It forces Secure.
	Partitioned bool `envconfig:"SESSION_PARTITIONED"`
	// Persistent gives the cookie a Max-Age of Lifetime, so that it survives the
	// end of the browser. The default is a cookie for the browser's session.
	Persistent bool `envconfig:"SESSION_PERSISTENT"`
	// TrustedProxies are addresses and networks (10.0.0.0/8) whose
	// X-Forwarded-For and X-Forwarded-Proto are believed. The default is none.
	TrustedProxies []string `envconfig:"SESSION_TRUSTED_PROXIES"`

	// KeyPrefix is in front of every key in Redis. The default is
	// [DefaultKeyPrefix].
	KeyPrefix string `envconfig:"SESSION_PREFIX"`
	// MaxBytes is the largest encoded session. The default is [DefaultMaxBytes].
	MaxBytes int `envconfig:"SESSION_MAX_BYTES"`
	// MaxPerUser is how many sessions a user may have; a further login ends the
	// oldest. The default, 0, is any number. After a change of secrets, sessions
	// count once their use is written down, see TouchEvery.
	MaxPerUser int `envconfig:"SESSION_MAX_PER_USER"`
	// Timeout is how long a request waits for Redis. The default is
	// [DefaultTimeout]. A process that is too busy to read a reply in time gets up
	// to seven times that, and 10 ms each time, in addition: it says nothing about
	// Redis.
	Timeout time.Duration `envconfig:"SESSION_TIMEOUT"`
	// Fallback is what happens while Redis is away. The default is
	// [FallbackMemory].
	Fallback Fallback `envconfig:"SESSION_FALLBACK"`
	// MemoryBytes bounds what is remembered of sessions in this process. The
	// default is [DefaultMemoryBytes]. Without Redis it bounds the sessions
	// themselves: those used least are ended.
	MemoryBytes int64 `envconfig:"SESSION_MEMORY_BYTES"`
	// LocalCache serves a session from memory for this long without asking
	// Redis. Other processes' changes and revocations arrive by a message, in a
	// few milliseconds; LocalCache is the bound if the message is lost. The
	// default, 0, is off; more than a few seconds is not wise.
	LocalCache time.Duration `envconfig:"SESSION_LOCAL_CACHE"`
}

// ConfigFromEnv reads the variables named in the tags of [Config]. Durations
// are milliseconds as a bare number, or have a unit (30m). The error wraps
// [ErrInvalidConfig], lists every variable that is wrong, and shows no value.
func ConfigFromEnv() (Config, error) {
	var cfg Config
	var app struct {
		Env string `envconfig:"APP_ENV"`
	}
	var p env.Problems
	p.AddErr(env.Load(&cfg))
	p.AddErr(env.Load(&app))
	cfg.Production = strings.EqualFold(strings.TrimSpace(app.Env), "production")
	p.AddErr(cfg.validate())
	return cfg, p.Err(ErrInvalidConfig)
}

// String renders the settings that differ from zero, without secrets.
func (c Config) String() string { return env.Format(c) }

// GoString is String, so that %#v shows no secret either.
func (c Config) GoString() string { return "session.Config" + c.String() }

// LogValue renders the settings for slog, without secrets.
func (c Config) LogValue() slog.Value { return env.LogValue(c) }

// MarshalJSON renders the settings for encoding/json, without secrets.
func (c Config) MarshalJSON() ([]byte, error) { return env.MarshalJSON(c) }

// String renders the settings, without secrets: what prints or logs the manager
// itself would else show all that it holds.
func (m *Manager) String() string { return "session.Manager" + m.cfg.String() }

// GoString is String.
func (m *Manager) GoString() string { return m.String() }

// withDefaults is the one place where a zero value becomes its default.
func (c Config) withDefaults() Config {
	c.Secrets = slices.Clone(c.Secrets)
	c.TrustedProxies = slices.Clone(c.TrustedProxies)
	c.Name = cmp.Or(c.Name, DefaultName)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, DefaultIdleTimeout)
	c.Lifetime = cmp.Or(c.Lifetime, DefaultLifetime)
	c.RegenerateEvery = cmp.Or(c.RegenerateEvery, DefaultRegenerateEvery)
	c.RegenerateGrace = cmp.Or(c.RegenerateGrace, DefaultRegenerateGrace)
	c.TouchEvery = cmp.Or(c.TouchEvery, min(DefaultTouchEvery, c.IdleTimeout/4))
	c.Path = cmp.Or(c.Path, "/")
	c.SameSite = strings.ToLower(cmp.Or(c.SameSite, "lax"))
	c.KeyPrefix = cmp.Or(c.KeyPrefix, DefaultKeyPrefix)
	c.MaxBytes = cmp.Or(c.MaxBytes, DefaultMaxBytes)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.Fallback = Fallback(strings.ToLower(string(cmp.Or(c.Fallback, FallbackMemory))))
	c.MemoryBytes = cmp.Or(c.MemoryBytes, DefaultMemoryBytes)
	return c
}

// sameSite translates SameSite for net/http.
func (c Config) sameSite() http.SameSite {
	switch c.SameSite {
	case "strict":
		return http.SameSiteStrictMode
	case "none":
		return http.SameSiteNoneMode
	default:
		return http.SameSiteLaxMode
	}
}

// cookieName is Name with the prefix that makes browsers insist on how the
// cookie was set (RFC 6265bis, section 4.1.3).
func (c Config) cookieName() string {
	if !c.Production && !c.HostPrefix || strings.HasPrefix(c.Name, "__") {
		return c.Name
	}
	if c.Domain != "" || c.Path != "/" {
		return "__Secure-" + c.Name
	}
	return "__Host-" + c.Name
}

// alwaysSecure reports whether the cookie is Secure whatever the request.
func (c Config) alwaysSecure() bool {
	return c.Production || c.HostPrefix || c.Partitioned || c.SameSite == "none" || strings.HasPrefix(c.Name, "__")
}
