package rediscache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// hang is go-redis' own limit on reading and writing: a backstop behind the
// deadlines that the gateHook sets.
const hang = 5 * time.Second

func defaultPoolSize() int { return max(DefaultMinPoolSize, 10*runtime.GOMAXPROCS(0)) }

// A link is the go-redis client of one deployment with all that guards it. It
// is built from go-redis' own options of each kind: UniversalOptions drops
// fields that matter here.
type link struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // nil unless a Cluster
	dialer  *dialer
	gates   gates
}

// linkConfig is what building a link takes.
type linkConfig struct {
	Config

	opts     options
	tls      *tls.Config
	spawn    func(f func(ctx context.Context)) bool
	onChange func()
}

// gates are those of a link: one, or one for each node of a Cluster.
type gates struct {
	mu  sync.Mutex
	all []*gate

	only *gate // the first; never changes where there is one server
}

func (g *gates) add(one *gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, one)
	if g.only == nil {
		g.only = one
	}
}

// state returns the worst news of all gates, and one cause.
func (g *gates) state() (State, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var open, answered int
	var cause error
	for _, one := range g.all {
		if one.answered.Load() {
			answered++
		}
		if e := one.state.Load(); e != nil {
			open++
			cause = e.cause
		}
	}
	switch {
	case open > 0 && open == len(g.all):
		return StateDown, cause
	case open > 0:
		return StateDegraded, cause
	case answered == 0:
		return StateNew, nil
	default:
		return StateUp, nil
	}
}

func newLink(cfg linkConfig) *link {
	l := new(link)
	t := target{network: "tcp", addr: net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port)), username: cfg.Username, password: cfg.Password, db: cfg.DB}
	if cfg.URL != "" {
		t, _ = parseURL(cfg.URL) // validated
	}
	l.dialer = newDialer(t.network, t.addr, cfg.Config, cfg.tls)
	switch {
	case cfg.MasterName != "":
		l.client = l.sentinel(cfg, t)
	case cfg.Cluster || len(cfg.Addrs) > 0:
		l.cluster = l.clusterOf(cfg, t)
		l.client = l.cluster
	default:
		l.client = l.standalone(cfg, t)
	}
	return l
}

// allow refuses at once while the one server is away. Which node of a Cluster
// a call will need is not known here.
func (l *link) allow() error {
	if l.cluster != nil {
		return nil
	}
	return l.gates.only.allow()
}

func (l *link) close() error {
	err := l.client.Close()
	l.dialer.close()
	return err
}

// newGate returns the gate of one server. probe makes a client that has
// neither hooks nor gate, for as long as the outage lasts.
func (l *link) newGate(cfg linkConfig, addr string, probe func() *redis.Client) *gate {
	g := &gate{addr: addr, timeout: cfg.Timeout, spawn: cfg.spawn}
	g.prober = func() (func(ctx context.Context) error, func()) {
		client := probe()
		return func(ctx context.Context) error { return client.Ping(ctx).Err() }, func() { _ = client.Close() }
	}
	g.onDeath = func() { l.dialer.died(addr) }
	g.onChange = func(g *gate, cause error) {
		if cause != nil && l.cluster != nil {
			// go-redis asks for the slots again after MOVED, not after a
			// refusal: without this a failover takes it a minute to notice.
			l.cluster.ReloadState(context.Background())
		}
		cfg.onChange()
	}
	l.gates.add(g)
	return g
}

func (l *link) standalone(cfg linkConfig, t target) *redis.Client {
	opt := cfg.options(t, l.dialer)
	client := redis.NewClient(&opt)
	for _, h := range cfg.opts.hooks {
		client.AddHook(h)
	}
	client.AddHook(gateHook{timeout: cfg.Timeout, gate: l.newGate(cfg, "", func() *redis.Client {
		return redis.NewClient(probeOptions(opt))
	})})
	return client
}

func (l *link) clusterOf(cfg linkConfig, t target) *redis.ClusterClient {
	node := cfg.options(t, l.dialer)
	addrs := cfg.Addrs
	if len(addrs) == 0 {
		addrs = []string{t.addr}
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, ClientName: node.ClientName, Dialer: node.Dialer, Protocol: node.Protocol,
		Username: node.Username, Password: node.Password, CredentialsProviderContext: node.CredentialsProviderContext,
		MaxRetries: node.MaxRetries, MinRetryBackoff: 4 * time.Millisecond, MaxRetryBackoff: 64 * time.Millisecond,
		DialTimeout: node.DialTimeout, DialerRetries: node.DialerRetries,
		ReadTimeout: node.ReadTimeout, WriteTimeout: node.WriteTimeout, ContextTimeoutEnabled: true,
		PoolSize: node.PoolSize, PoolTimeout: node.PoolTimeout, MinIdleConns: node.MinIdleConns,
		ConnMaxIdleTime: node.ConnMaxIdleTime, ConnMaxLifetime: node.ConnMaxLifetime, ConnMaxLifetimeJitter: node.ConnMaxLifetimeJitter,
		DisableIdentity: true, MaintNotificationsConfig: node.MaintNotificationsConfig,
		// A minute, the default, is how long a changed topology stays unseen
		// when nothing else tells.
		ClusterStateReloadInterval: 10 * time.Second,
		NewClient: func(opt *redis.Options) *redis.Client {
			one := redis.NewClient(opt)
			one.AddHook(gateHook{timeout: cfg.Timeout, gate: l.newGate(cfg, opt.Addr, func() *redis.Client {
				return redis.NewClient(probeOptions(*opt))
			})})
			return one
		},
	})
	for _, h := range cfg.opts.hooks {
		client.AddHook(h)
	}
	client.AddHook(boundHook{timeout: cfg.Timeout})
	return client
}

func (l *link) sentinel(cfg linkConfig, t target) *redis.Client {
	node := cfg.options(t, l.dialer)
	opt := redis.FailoverOptions{
		MasterName: cfg.MasterName, SentinelAddrs: slices.Clone(cfg.Addrs),
		SentinelUsername: cfg.SentinelUsername, SentinelPassword: cfg.SentinelPassword,
		ClientName: node.ClientName, Dialer: node.Dialer, Protocol: node.Protocol, DB: node.DB,
		Username: node.Username, Password: node.Password, CredentialsProviderContext: node.CredentialsProviderContext,
		MaxRetries: node.MaxRetries, DialTimeout: node.DialTimeout, DialerRetries: node.DialerRetries,
		ReadTimeout: node.ReadTimeout, WriteTimeout: node.WriteTimeout, ContextTimeoutEnabled: true,
		PoolSize: node.PoolSize, PoolTimeout: node.PoolTimeout, MinIdleConns: node.MinIdleConns,
		ConnMaxIdleTime: node.ConnMaxIdleTime, ConnMaxLifetime: node.ConnMaxLifetime, ConnMaxLifetimeJitter: node.ConnMaxLifetimeJitter,
		DisableIdentity: true,
	}
	main := opt
	client := redis.NewFailoverClient(&main)
	for _, h := range cfg.opts.hooks {
		client.AddHook(h)
	}
	client.AddHook(gateHook{timeout: cfg.Timeout, gate: l.newGate(cfg, "", func() *redis.Client {
		probe := opt
		probe.PoolSize, probe.MinIdleConns = 1, 0
		return redis.NewFailoverClient(&probe)
	})})
	return client
}

// options are those of a single server, and of each node of a Cluster.
func (cfg linkConfig) options(t target, d *dialer) redis.Options {
	opt := redis.Options{
		Network: t.network, Addr: t.addr, Dialer: d.dial, Protocol: 3,
		ClientName: strings.Map(clientNameRune, cfg.AppName),
		Username:   t.username, Password: t.password, DB: t.db,
		CredentialsProviderContext: classified(cfg.opts.credentials),
		// One place decides about retries: the gateHook.
		MaxRetries:  -1,
		DialTimeout: cfg.DialTimeout, DialerRetries: 1, // a failed dial does not reach the pool, see dialer
		ReadTimeout: hang, WriteTimeout: hang, ContextTimeoutEnabled: true,
		PoolSize: cfg.PoolSize, MinIdleConns: max(cfg.MinIdleConns, 0), PoolTimeout: cfg.Timeout * 3 / 4,
		ConnMaxIdleTime: cfg.ConnMaxIdleTime, ConnMaxLifetime: max(cfg.ConnMaxLifetime, 0),
		ConnMaxLifetimeJitter: max(cfg.ConnMaxLifetime, 0) / 10,
		DisableIdentity:       true, // saves a round trip a connection
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled, // another round trip, of use with Redis Enterprise only
		},
	}
	if cfg.ConnMaxIdleTime < 0 {
		opt.ConnMaxIdleTime = -1
	}
	return opt
}

// errCredentials marks the errors of WithCredentials.
var errCredentials = errors.New("credentials")

func classified(f func(ctx context.Context) (string, string, error)) func(ctx context.Context) (string, string, error) {
	if f == nil {
		return nil
	}
	return func(ctx context.Context) (string, string, error) {
		username, password, err := f(ctx)
		if err != nil {
			err = fmt.Errorf("%w: %w", errCredentials, err)
		}
		return username, password, err
	}
}

// probeOptions are those of the client that only asks whether the server is
// back: one connection.
func probeOptions(opt redis.Options) *redis.Options {
	opt.PoolSize, opt.MinIdleConns, opt.PipelinePoolSize, opt.MaxActiveConns = 1, 0, -1, 0
	opt.PoolTimeout = probeTimeout
	return &opt
}

// clientNameRune keeps what CLIENT SETNAME accepts.
func clientNameRune(r rune) rune {
	if r <= ' ' || r > '~' {
		return '-'
	}
	return r
}

// isClusterDown reports whether a node answered that its cluster is down.
func isClusterDown(err error) bool { return redis.IsClusterDownError(err) }

// A boundHook bounds a call to a Cluster as a whole, redirections included;
// the gates stand at the nodes.
type boundHook struct{ timeout time.Duration }

var _ redis.Hook = boundHook{}

// DialHook changes nothing.
func (h boundHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook bounds a single command.
func (h boundHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if blocking(cmd.Name(), cmd) {
			return next(ctx, cmd)
		}
		return next(&call{Context: ctx, deadline: limit(ctx, time.Now(), h.timeout)}, cmd)
	}
}

// ProcessPipelineHook bounds a pipeline.
func (h boundHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		timeout := gateHook{timeout: h.timeout}.pipelineTimeout(len(cmds))
		return next(&call{Context: ctx, deadline: limit(ctx, time.Now(), timeout)}, cmds)
	}
}
