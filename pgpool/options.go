package pgpool

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// An Option changes what New makes, where plain data cannot say it.
type Option func(*options)

type options struct {
	logger      *slog.Logger
	tracer      pgx.QueryTracer
	password    func(context.Context) (string, error)
	beforeConn  func(context.Context, *pgx.ConnConfig) error
	afterConn   func(context.Context, *pgx.Conn) error
	leakAfter   time.Duration
	onSlowQuery func(SlowQuery)
}

func applyOptions(opts []Option) options {
	o := options{logger: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// WithLogger sets where the pool logs what the host should know: slow queries,
// connections that are held too long, replicas that come and go, resolved
// commits. Arguments of statements are never logged. The default, and nil, is
// not to log.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithTracer attaches a pgx tracer, such as one for OpenTelemetry, to all
// connections. Every other tracer interface of pgx and pgxpool that t
// implements is served too. Several are combined with pgx's multitracer; a
// repeated option replaces the earlier.
func WithTracer(t pgx.QueryTracer) Option { return func(o *options) { o.tracer = t } }

// WithPassword asks f for the password of each new connection: for tokens that
// expire, such as those of a cloud's IAM. An error or a panic fails the
// connection attempt. Replicas use it too.
func WithPassword(f func(ctx context.Context) (string, error)) Option {
	return func(o *options) { o.password = f }
}

// WithBeforeConnect lets f change the settings of each new connection, such as
// its TLS or its dialer, last before it is made. An error or a panic fails the
// attempt.
func WithBeforeConnect(f func(ctx context.Context, cfg *pgx.ConnConfig) error) Option {
	return func(o *options) { o.beforeConn = f }
}

// WithAfterConnect runs f on each new connection, to register types for
// example. Behind a transaction pooler it must not change the session. An
// error or a panic fails the connection.
func WithAfterConnect(f func(ctx context.Context, conn *pgx.Conn) error) Option {
	return func(o *options) { o.afterConn = f }
}

// WithLeakDetection logs each connection that is held longer than after, once,
// with the place where it was acquired, and makes ErrPoolExhausted and Stop
// show that place. It costs 0.3 µs an acquire. The default, and 0, is off.
func WithLeakDetection(after time.Duration) Option { return func(o *options) { o.leakAfter = after } }

// WithSlowQuery calls f for each statement that took longer than
// Config.SlowQuery, and when one that still runs passes that limit, in
// addition to the log. f runs on the caller's goroutine, where a panic goes on
// to the caller, or for one that still runs on the pool's own, where a panic is
// logged. It must return quickly.
func WithSlowQuery(f func(SlowQuery)) Option { return func(o *options) { o.onSlowQuery = f } }
