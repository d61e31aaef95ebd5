package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/backoff"
	"github.com/pedro-go/pedro/internal/env"
)

// Manager keeps the sessions of a service. Its methods are safe for concurrent
// use. Make it with [New].
type Manager struct {
	cfg        Config
	opts       options
	log        *slog.Logger
	ring       []*keys
	format     format
	store      *store
	link       *link // nil unless sessions are in Redis
	index      *index
	cookieName string
	secure     bool
	proxies    []netip.Prefix
	stats      *counters
	epoch      atomic.Int64 // sessions made in an earlier one have ended
	self       string       // in messages: who sent it

	ctx    context.Context //nolint:containedctx // the life of the background work
	cancel context.CancelFunc
	work   chan struct{} // wakes the replayer

	mu      sync.Mutex
	started bool
	stopped bool
	halted  chan struct{} // closed when the first Stop has ended
	wg      sync.WaitGroup
}

// New returns a manager on a client that is lent: it is never closed, and may
// be of any kind, also the one of rediscache. Nil keeps sessions in memory only; a
// variable of a client's type that was never set is a mistake, and refused. New
// makes no network call. The error wraps [ErrInvalidConfig].
//
// In production use a Redis that persists and does not evict: sessions are data,
// not cache.
func New(client redis.UniversalClient, cfg Config, opts ...Option) (*Manager, error) {
	o := options{logger: slog.Default()}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	var p env.Problems
	p.AddErr(cfg.validate())
	o.validate(&p, client, cfg)
	if err := p.Err(ErrInvalidConfig); err != nil {
		return nil, err
	}
	m := &Manager{cfg: cfg.withDefaults(), opts: o, log: o.logger, stats: newCounters(), work: make(chan struct{}, 1), halted: make(chan struct{})}
	if len(m.cfg.Secrets) == 0 {
		m.cfg.Secrets = []string{randomSecret()}
		m.log.Warn("SESSION_SECRET is not set: made one that lasts as long as this process")
	}
	for _, secret := range m.cfg.Secrets {
		k, err := newKeys(secret)
		if err != nil {
			return nil, err
		}
		m.ring = append(m.ring, k)
	}
	for _, s := range m.cfg.TrustedProxies {
		n, _ := parseNetwork(s) // validated above
		m.proxies = append(m.proxies, n)
	}
	m.cookieName, m.secure = m.cfg.cookieName(), m.cfg.alwaysSecure()
	m.format = &nativeFormat{ring: m.ring, cfg: &m.cfg}
	m.self = randomSecret()[:8]
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.store = &store{
		cfg: &m.cfg, format: m.format, live: newLive(m.cfg.MemoryBytes), stats: m.stats, journal: map[*entry]struct{}{},
		ended: m.over, adopted: m.adopted, dropped: m.droppedLater, retires: true,
	}
	if err := m.connect(client); err != nil {
		return nil, err
	}
	return m, nil
}

// connect puts the store on its backend.
func (m *Manager) connect(client redis.UniversalClient) error {
	if m.opts.gorilla != nil {
		m.format = &carryFormat{format: m.format, live: m.store.live}
		m.store.format, m.store.back, m.store.retires = m.format, &gorillaBackend{store: m.opts.gorilla, live: m.store.live}, false
		return nil
	}
	if client == nil {
		return nil
	}
	m.link = newLink(client, m.cfg.Timeout, m.cfg.KeyPrefix+"probe")
	m.link.onChange = m.linkChanged
	m.index = &index{link: m.link, prefix: m.cfg.KeyPrefix + "user:", ring: m.ring, max: m.cfg.MaxPerUser}
	prefix := m.cfg.KeyPrefix
	if x := m.opts.express; x != nil {
		m.format = &expressFormat{cfg: x, m: m}
		m.store.format, prefix, m.store.retires, m.cookieName = m.format, x.Prefix, false, m.cfg.Name
	}
	back, err := newRedisBackend(m.link, prefix, m.channel(), m.self, m.cfg.LocalCache > 0)
	if err != nil {
		return err
	}
	_, cluster := client.(*redis.ClusterClient)
	back.split = cluster && m.opts.express != nil
	m.store.link, m.store.back = m.link, back
	return nil
}

// Config returns the effective settings, without the secrets.
func (m *Manager) Config() Config {
	c := m.cfg
	c.Secrets = make([]string, len(m.cfg.Secrets))
	for i := range c.Secrets {
		c.Secrets[i] = "[hidden]"
	}
	return c
}

// startPatience is how long Start waits for Redis before it begins in memory.
const startPatience = 2 * time.Second

// Start begins the background work. It asks Redis, and succeeds without it,
// from memory, unless [Config].Fallback is [FallbackOff]: then it tries until
// ctx is done. A manager serves without Start too, but hears of other
// processes' RevokeAll and local-cache messages only afterwards.
func (m *Manager) Start(ctx context.Context) error {
	m.mu.Lock()
	if m.stopped {
		m.mu.Unlock()
		return ErrClosed
	}
	first := !m.started
	m.started = true
	if first {
		m.wg.Go(m.replayer)
		m.wg.Go(m.janitor)
		if m.link != nil {
			m.wg.Go(m.listen)
		}
	}
	m.mu.Unlock()
	if m.link == nil {
		if m.store.back == nil {
			m.log.WarnContext(ctx, "sessions are kept in memory only")
		}
		return nil
	}
	began := time.Now()
	for attempt := 0; ; attempt++ {
		err := m.link.ping(ctx)
		if err == nil {
			m.readEpoch(ctx)
			return nil
		}
		if m.cfg.Fallback != FallbackOff && (time.Since(began) > startPatience || attempt >= 1) {
			m.log.WarnContext(ctx, "redis is away: sessions are kept in memory until it is back", "error", err)
			return nil
		}
		if startPauses.Wait(ctx, attempt) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

var startPauses = backoff.Policy{Min: 50 * time.Millisecond, Max: time.Second}

// Stop brings over what Redis does not know yet, as long as ctx lets it, and
// ends the background work. Stop the HTTP server first. A further Stop waits for
// the first one, which alone tells what became of that.
func (m *Manager) Stop(ctx context.Context) error {
	m.mu.Lock()
	again := m.stopped
	m.stopped = true
	m.mu.Unlock()
	if again { // it must not take away what the first still needs
		return m.awaitStop(ctx)
	}
	defer close(m.halted)
	var err error
	if m.store.back != nil {
		err = m.flushAll(ctx)
	}
	m.store.closed.Store(true)
	m.cancel()
	if m.link != nil {
		m.link.close()
	}
	done := make(chan struct{})
	go func() {
		m.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		select {
		case <-done:
		case <-time.After(time.Second): // the workers end by themselves
		}
	}
	return err
}

// awaitStop waits for the Stop that is under way, or was.
func (m *Manager) awaitStop(ctx context.Context) error {
	select {
	case <-m.halted:
		return nil
	default:
	}
	select {
	case <-m.halted:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// flushAll is the last chance of what was written while Redis was away.
func (m *Manager) flushAll(ctx context.Context) error {
	for attempt := 0; m.store.waiting() > 0; attempt++ {
		if m.store.reachable() && m.store.replay(ctx) == nil {
			return nil
		}
		if startPauses.Wait(ctx, attempt) != nil {
			m.log.WarnContext(ctx, "stopped while redis is away: what was kept in memory is lost", "sessions", m.store.waiting())
			return errors.Join(ErrUnavailable, context.Cause(ctx))
		}
	}
	return nil
}

// Ping asks Redis. It fails with [ErrUnavailable] while sessions are served
// from memory because Redis is away; with memory only it succeeds.
func (m *Manager) Ping(ctx context.Context) error {
	if m.link == nil {
		return nil
	}
	if o := m.link.down.Load(); o != nil {
		return o.err
	}
	return m.link.ping(ctx)
}

// linkChanged is told when Redis goes and comes.
func (m *Manager) linkChanged(down *outage) {
	if down != nil {
		m.store.away(down.since)
		m.log.Warn("redis is away: sessions are served from memory", "error", down.err)
		return
	}
	m.log.Info("redis is back", "waiting", m.store.waiting())
	m.wake()
}

func (m *Manager) wake() {
	select {
	case m.work <- struct{}{}:
	default:
	}
}

// replayer brings over what waits, whenever Redis is there.
func (m *Manager) replayer() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.work:
		case <-tick.C:
		}
		if m.store.reachable() && m.store.unsettled() {
			if err := m.store.replay(m.ctx); err != nil && m.store.reachable() && m.ctx.Err() == nil {
				m.log.Warn("bringing sessions over failed, trying again", "error", err)
			}
		}
	}
}

// janitor forgets what has ended, and asks for the epoch in case its message
// was lost.
func (m *Manager) janitor() {
	tick := time.NewTicker(epochEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
		}
		if m.link != nil && m.link.up() {
			m.readEpoch(m.ctx)
		}
		if n%60 == 0 {
			m.store.live.expire(m.over)
		}
	}
}

// over reports whether a record has ended, by its age or by RevokeAll.
func (m *Manager) over(r *record) bool {
	if r.Retired {
		return false
	}
	return r.Epoch < m.epoch.Load() || !time.Now().Before(m.format.expiry(r))
}

func randomSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
