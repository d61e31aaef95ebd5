package rediscache

import (
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// versionPrefix begins the keys that hold versions of namespaces and tags.
const versionPrefix = "pedro:v:"

// reconcileEvery is how often the set of masters is looked at. A new master
// whose writes we do not hear yet is the other bound of staleness.
const reconcileEvery = 500 * time.Millisecond

// A listener is a namespace that keeps something which Redis may invalidate.
type listener interface {
	keyPrefix() string
	invalidated(key string) // key without the prefix
}

// coherence keeps what the process remembers in step with Redis: it listens to
// the invalidations of every master and passes them on. While any master is
// not listened to, nothing remembered is used.
type coherence struct {
	link      *link
	name      string // client name
	sentinels bool
	masters   func(ctx context.Context) ([]string, error)
	versions  *versions
	cred      func(ctx context.Context) (string, string, error)

	// epoch is odd while all masters are listened to. Whatever was remembered
	// in another epoch is void.
	epoch  atomic.Uint64
	pubsub atomic.Bool // no tracking: writers publish

	breaks        atomic.Uint64
	invalidations atomic.Uint64

	mu        sync.Mutex
	streams   map[string]*stream
	settled   bool // streams are those of the masters
	listeners []listener
	restart   bool // the prefixes changed
	kick      chan struct{}
}

func newCoherence(l *link, cfg linkConfig) *coherence {
	co := &coherence{
		link: l, name: strings.Map(clientNameRune, cfg.AppName) + "-invalidation", sentinels: cfg.MasterName != "",
		streams: map[string]*stream{}, kick: make(chan struct{}, 1),
	}
	co.versions = newVersions(co)
	t := target{username: cfg.Username, password: cfg.Password}
	if cfg.URL != "" {
		t, _ = parseURL(cfg.URL) // validated
	}
	co.cred = cfg.opts.credentials
	if co.cred == nil {
		co.cred = func(context.Context) (string, string, error) { return t.username, t.password, nil }
	}
	switch {
	case l.cluster != nil:
		co.masters = co.clusterMasters
	case co.sentinels:
		co.masters = func(ctx context.Context) ([]string, error) { return sentinelMaster(ctx, cfg, l.dialer) }
	default:
		addr := cfg.standaloneAddr()
		co.masters = func(context.Context) ([]string, error) { return []string{addr}, nil }
	}
	return co
}

func (co *coherence) credentials(ctx context.Context) (string, string, error) { return co.cred(ctx) }

// live returns the epoch, and whether what is remembered from now on may be
// used.
func (co *coherence) live() (uint64, bool) {
	epoch := co.epoch.Load()
	return epoch, epoch%2 == 1
}

// listen adds a namespace. Redis has to be told about its prefix.
func (co *coherence) listen(l listener) {
	co.mu.Lock()
	before := co.prefixesLocked()
	co.listeners = append(co.listeners, l)
	if len(co.streams) > 0 && !slices.Equal(before, co.prefixesLocked()) {
		co.restart = true
	}
	co.mu.Unlock()
	co.wake()
}

func (co *coherence) wake() {
	select {
	case co.kick <- struct{}{}:
	default:
	}
}

// prefixes are those that tracking is asked for. Redis accepts none that begins
// with another.
func (co *coherence) prefixes() []string {
	co.mu.Lock()
	defer co.mu.Unlock()
	return co.prefixesLocked()
}

func (co *coherence) prefixesLocked() []string {
	all := []string{versionPrefix}
	for _, l := range co.listeners {
		all = append(all, l.keyPrefix())
	}
	slices.Sort(all)
	var kept []string
	for _, p := range all {
		if len(kept) == 0 || !strings.HasPrefix(p, kept[len(kept)-1]) {
			kept = append(kept, p)
		}
	}
	return kept
}

// run keeps a stream to every master until ctx ends.
func (co *coherence) run(ctx context.Context) {
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	defer co.stopAll()
	for {
		co.reconcile(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-co.kick:
		}
	}
}

func (co *coherence) reconcile(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, streamReply)
	defer cancel()
	masters, err := co.masters(limited)
	if err != nil || len(masters) == 0 {
		return // the streams themselves know whether they live
	}
	co.mu.Lock()
	var gone []*stream
	for addr, s := range co.streams {
		if co.restart || !slices.Contains(masters, addr) {
			gone = append(gone, s)
			delete(co.streams, addr)
		}
	}
	co.restart = false
	changed := len(gone) > 0
	for _, addr := range masters {
		if co.streams[addr] != nil {
			continue
		}
		changed = true
		streamCtx, cancel := context.WithCancel(ctx)
		s := &stream{co: co, addr: addr, cancel: cancel, done: make(chan struct{})}
		co.streams[addr] = s
		go s.run(streamCtx)
	}
	if changed || !co.settled {
		co.settled = true
		co.updateLocked(changed)
	}
	co.mu.Unlock()
	for _, s := range gone {
		s.cancel()
		<-s.done
	}
}

func (co *coherence) stopAll() {
	co.mu.Lock()
	streams := slices.Collect(maps.Values(co.streams))
	co.streams = map[string]*stream{}
	co.updateLocked(true)
	co.mu.Unlock()
	for _, s := range streams {
		s.cancel()
		<-s.done
	}
}

func (co *coherence) streamUp(s *stream, tracking bool) {
	co.mu.Lock()
	defer co.mu.Unlock()
	if co.streams[s.addr] != s {
		return // replaced
	}
	s.up = true
	co.pubsub.Store(!tracking)
	co.updateLocked(true)
}

func (co *coherence) streamDown(s *stream, _ error) {
	co.mu.Lock()
	defer co.mu.Unlock()
	if s.up && co.streams[s.addr] == s {
		co.breaks.Add(1)
	}
	s.up = false
	if co.streams[s.addr] == s {
		co.updateLocked(true)
	}
}

// updateLocked begins a new epoch if something changed.
func (co *coherence) updateLocked(changed bool) {
	all := len(co.streams) > 0
	for _, s := range co.streams {
		all = all && s.up
	}
	epoch := co.epoch.Load()
	odd := epoch%2 == 1
	switch {
	case all && !odd:
		epoch++
	case all && changed:
		epoch += 2
	case !all && odd:
		epoch++
	default:
		return
	}
	co.epoch.Store(epoch)
	co.versions.forgetAll()
}

// dropAll voids everything remembered.
func (co *coherence) dropAll() {
	co.mu.Lock()
	defer co.mu.Unlock()
	co.updateLocked(true)
}

// invalidate passes on that a key changed.
func (co *coherence) invalidate(key string) {
	co.invalidations.Add(1)
	if strings.HasPrefix(key, versionPrefix) {
		co.versions.forget(key)
		return
	}
	co.touched(key)
}

// touched drops what namespaces remember of a key.
func (co *coherence) touched(key string) {
	co.mu.Lock()
	listeners := co.listeners // only ever appended to
	co.mu.Unlock()
	for _, l := range listeners {
		if rest, ok := strings.CutPrefix(key, l.keyPrefix()); ok {
			l.invalidated(rest)
		}
	}
}

// clusterMasters asks the cluster client, which asks the cluster.
func (co *coherence) clusterMasters(ctx context.Context) ([]string, error) {
	var mu sync.Mutex
	var addrs []string
	err := co.link.cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		addrs = append(addrs, node.Options().Addr)
		return nil
	})
	slices.Sort(addrs)
	return addrs, err
}

// sentinelMaster asks the Sentinels where the master is.
func sentinelMaster(ctx context.Context, cfg linkConfig, d *dialer) ([]string, error) {
	var last error
	for _, addr := range cfg.Addrs {
		conn, err := d.open(ctx, addr)
		if err != nil {
			last = err
			continue
		}
		rc := newRespConn(conn)
		if cfg.SentinelPassword != "" {
			_, err = rc.do(streamPing, "AUTH", orDefault(cfg.SentinelUsername), cfg.SentinelPassword)
		}
		var reply any
		if err == nil {
			reply, err = rc.do(streamPing, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", cfg.MasterName)
		}
		_ = conn.Close()
		if list, ok := reply.([]any); err == nil && ok && len(list) == 2 {
			host, _ := list[0].(string)
			port, _ := list[1].(string)
			return []string{net.JoinHostPort(host, port)}, nil
		}
		last = err
	}
	return nil, last
}
