package rediscache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/backoff"
)

// startPauses are the pauses between attempts of Start.
var startPauses = backoff.Policy{Min: 50 * time.Millisecond, Max: time.Second}

// A Cache is a connection to Redis, and what is cached through it. It is safe
// for concurrent use and made by [New]; namespaces on it are made by [Of].
type Cache struct {
	cfg  Config
	opts options
	log  *slog.Logger
	link *link
	lane *lane

	counts     counts
	coherence  *coherence
	pending    pending
	memory     memoryWatch
	namesMu    sync.Mutex
	namespaces []namedCounts
	cold       map[string]struct{} // namespaces that wait for their first Warm

	// Everything in the background runs on ctx and is waited for by Stop.
	ctx    context.Context
	cancel context.CancelFunc
	life   sync.Mutex
	tasks  sync.WaitGroup
	closed bool

	startOnce sync.Once

	state   atomic.Int32
	stateMu sync.Mutex
	news    []stateNews // changes that observers were not told about yet
	telling bool        // somebody tells them
}

// New returns a Cache after validating everything: its error wraps
// [ErrInvalidConfig] and lists every mistake. It does not talk to Redis, and
// the client of [Cache.Redis] can be handed out at once. Every Cache needs a
// [Cache.Stop], started or not.
func New(cfg Config, opts ...Option) (*Cache, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Cache{cfg: cfg.withDefaults()}
	for _, opt := range opts {
		if opt != nil {
			opt(&c.opts)
		}
	}
	c.log = c.opts.logger
	if c.log == nil {
		c.log = slog.Default()
	}
	tlsCfg := c.opts.tls
	if tlsCfg == nil {
		var err error
		if tlsCfg, err = c.cfg.tlsConfig(); err != nil {
			return nil, fmt.Errorf("%w: REDIS_TLS_CA or REDIS_TLS_CERT: %w", ErrInvalidConfig, err)
		}
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	cfg = c.cfg
	full := linkConfig{Config: cfg, opts: c.opts, tls: tlsCfg, spawn: c.spawn, onChange: c.updateState}
	c.link = newLink(full)
	c.lane = newLane(c.link, c.ctx.Done())
	c.coherence = newCoherence(c.link, full)
	return c, nil
}

// Start proves that Redis answers. With [Config].Required it tries again, with
// growing pauses, until ctx is done, and then fails with the last cause; wrong
// credentials and missing rights fail at once. Without Required it tries once, says in the log
// what is missing, and succeeds. ctx bounds Start only.
func (c *Cache) Start(ctx context.Context) error {
	c.startOnce.Do(func() {
		c.spawn(c.coherence.run)
		c.spawn(c.watch)
	})
	for attempt := 0; ; attempt++ {
		err := c.Ping(ctx)
		switch {
		case err == nil:
			c.log.Info("redis answers", "required", c.cfg.Required)
			return nil
		case errors.Is(err, ErrClosed):
			return fmt.Errorf("rediscache: start: %w", ErrClosed)
		case !c.cfg.Required:
			c.log.Warn("redis is away; the cache works in this process only until it is back", "error", err)
			return nil
		case isAuth(err):
			return fmt.Errorf("rediscache: start: redis refuses the credentials of REDIS_USERNAME and REDIS_PASSWORD (or REDIS_URL): %w", err)
		case redis.IsPermissionError(err):
			return fmt.Errorf("rediscache: start: the user of REDIS_USERNAME (or REDIS_URL) lacks a right; SECURITY.md lists those that are needed: %w", err)
		}
		if startPauses.Wait(ctx, attempt) != nil {
			return fmt.Errorf("rediscache: start: %w", errors.Join(context.Cause(ctx), err))
		}
	}
}

func isAuth(err error) bool { return redis.IsAuthError(err) }

// Stop ends the background work and closes the client of [Cache.Redis]. It is
// safe without Start and twice. If ctx ends before the background work it
// returns the context's cause; the work ends anyway.
func (c *Cache) Stop(ctx context.Context) error {
	c.life.Lock()
	again := c.closed
	c.closed = true
	c.life.Unlock()

	c.cancel()
	var err error
	if !again {
		err = c.link.close()
	}
	done := make(chan struct{})
	go func() {
		c.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
		if err != nil {
			return fmt.Errorf("rediscache: stop: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("rediscache: stop: %w", context.Cause(ctx))
	}
}

// spawn runs f in the background until Stop. It returns false after Stop.
func (c *Cache) spawn(f func(ctx context.Context)) bool {
	c.life.Lock()
	defer c.life.Unlock()
	if c.closed {
		return false
	}
	c.tasks.Go(func() { f(c.ctx) })
	return true
}

// Ping asks Redis whether it is there, within [Config].Timeout. While the gate
// is open it says so at once instead: the prober knows better. On a Cluster
// every master is asked.
func (c *Cache) Ping(ctx context.Context) error {
	if c.ctx.Err() != nil {
		return fmt.Errorf("rediscache: ping: %w", ErrClosed)
	}
	if c.link.cluster == nil {
		return opError("ping", c.link.client.Ping(ctx).Err())
	}
	return opError("ping", c.link.cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		return node.Ping(ctx).Err()
	}))
}

// Redis returns the go-redis client: a *redis.Client, or a
// *redis.ClusterClient for a Cluster. It is lent: use it for whatever the
// cache does not do, share it, and do not close it. It is valid from [New] to
// [Cache.Stop].
//
// It carries the cache's own protection. A call takes no longer than its
// context or [Config].Timeout, blocking commands excepted; while Redis is away
// it fails within microseconds with an error that wraps [ErrUnavailable]; a
// command whose connection broke is repeated only if running it twice does no
// harm, so that scripts and INCR never are.
func (c *Cache) Redis() redis.UniversalClient { return c.link.client }

// Config returns the effective settings: those given to [New], with defaults.
func (c *Cache) Config() Config { return c.cfg.withDefaults() }
