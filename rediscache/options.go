package rediscache

import (
	"context"
	"crypto/tls"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// An Option is something with behaviour that [New] takes beside the plain data
// of [Config].
type Option func(*options)

// options is what the Options set.
type options struct {
	logger      *slog.Logger
	tls         *tls.Config
	credentials func(ctx context.Context) (username, password string, err error)
	hooks       []redis.Hook
	onState     []func(State, error)
}

// WithLogger sets where the cache reports state changes and recovered trouble.
// The default, also for nil, is [slog.Default] at the time of [New].
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithTLS switches TLS on with this configuration, which replaces the
// TLS… fields of [Config]. It is cloned. A ServerName left empty is set to the
// host of each connection. Nil keeps what Config says.
func WithTLS(cfg *tls.Config) Option {
	return func(o *options) {
		if cfg != nil {
			o.tls = cfg.Clone()
		}
	}
}

// WithCredentials has user name and password asked for whenever a connection
// is made, for passwords that rotate and for tokens such as those of cloud
// IAM. It replaces Username and Password. It must be safe for concurrent use
// and quick: what it needs to fetch it should fetch ahead. Its error counts as
// "Redis is away" and is logged, so it must not hold a secret. Nil keeps the
// credentials of Config.
func WithCredentials(f func(ctx context.Context) (username, password string, err error)) Option {
	return func(o *options) {
		if f != nil {
			o.credentials = f
		}
	}
}

// WithHook attaches a go-redis hook, such as a tracer, to the client. It sees
// every command and pipeline of the cache and of whoever uses [Cache.Redis],
// outside of retries and the gate. Repeating it appends; the first is the
// outermost. Nil is ignored.
func WithHook(h redis.Hook) Option {
	return func(o *options) {
		if h != nil {
			o.hooks = append(o.hooks, h)
		}
	}
}

// WithStateObserver has f called after each change of [Cache.State], one call
// at a time, with the cause of a change for the worse. It must return quickly.
// Repeating it appends. Nil is ignored.
func WithStateObserver(f func(to State, cause error)) Option {
	return func(o *options) {
		if f != nil {
			o.onState = append(o.onState, f)
		}
	}
}
