package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/backoff"
)

// epochEvery bounds for how long a process may miss a RevokeAll whose message
// was lost.
const epochEvery = time.Second

// raiseScript makes the epoch at least ARGV[1], and returns it.
var raiseScript = newScript(`
local cur = tonumber(redis.call('GET', KEYS[1]) or '0')
local want = tonumber(ARGV[1])
if want > cur then
	redis.call('SET', KEYS[1], want)
	cur = want
	if ARGV[2] ~= '' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
end
return cur`)

func (m *Manager) epochKey() string { return m.cfg.KeyPrefix + "epoch" }

// channel is where processes tell one another what has changed.
func (m *Manager) channel() string { return m.cfg.KeyPrefix + "events" }

// RevokeAll ends every session there is, at the cost of one command however
// many they are: each session knows in which epoch it was made, and this begins
// a new one. This process refuses them when RevokeAll returns, others with a
// message, at the latest a second later. While Redis is away it returns
// [ErrUnavailable]: the sessions are over here, and will be elsewhere when Redis
// is back.
func (m *Manager) RevokeAll(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if m.link != nil {
		m.readEpoch(ctx)
	}
	if m.opts.express != nil && m.link != nil {
		return m.removeAll(ctx)
	}
	// By the clock, so that it is later than one that this process has not heard of.
	want := max(m.epoch.Load()+1, time.Now().UnixMilli())
	m.sawEpoch(want)
	m.event(nil, Event{Kind: Revoked})
	if m.link == nil {
		return nil
	}
	if err := m.raiseEpoch(ctx, want); err != nil {
		m.store.later(func(ctx context.Context) error { return m.raiseEpoch(ctx, want) })
		m.wake()
		return fmt.Errorf("session: revoke all: %w", unavailable(err))
	}
	return nil
}

// removeAll is RevokeAll for records that know no epoch.
func (m *Manager) removeAll(ctx context.Context) error {
	m.event(nil, Event{Kind: Revoked})
	err := m.removeUntil(ctx, 0)
	if err == nil {
		return nil
	}
	now := time.Now().UnixMilli()
	m.store.live.each(func(e *entry, _ *view) { _, _ = m.store.drop(ctx, e.id) })
	m.store.later(func(ctx context.Context) error { return m.removeUntil(ctx, now) })
	m.wake()
	return fmt.Errorf("session: revoke all: %w", unavailable(err))
}

// removeUntil removes every record, but those of whoever has logged in after
// last, in ms, if that is not 0.
func (m *Manager) removeUntil(ctx context.Context, last int64) error {
	sweep := func(ctx context.Context, c redis.Cmdable) error {
		it := c.Scan(ctx, 0, globEscaper.Replace(m.opts.express.Prefix)+"*", 500).Iterator()
		for it.Next(ctx) {
			sid, ours := strings.CutPrefix(it.Val(), m.opts.express.Prefix)
			if !ours {
				continue
			}
			id := expressIdent(sid)
			if last != 0 {
				r, err := m.store.read(ctx, id, 0)
				switch {
				case err == nil && r.AuthTime > last:
					continue
				case errors.Is(err, ErrUnavailable):
					return err
				}
			}
			if _, err := m.store.drop(ctx, id); err != nil {
				return err
			}
		}
		return it.Err()
	}
	if cluster, ok := m.link.client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return sweep(ctx, c) })
	}
	return sweep(ctx, m.link.client)
}

// globEscaper makes a pattern of a text that stands for nothing else.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func (m *Manager) raiseEpoch(ctx context.Context, want int64) error {
	reply, err := m.link.eval(ctx, raiseScript, []string{m.epochKey()}, want, m.channel(), epochMessage+m.self)
	if err != nil {
		return err
	}
	if n, ok := reply.(int64); ok {
		m.sawEpoch(n)
	}
	return nil
}

// readEpoch asks Redis for the epoch. A Redis that has lost its data is told.
func (m *Manager) readEpoch(ctx context.Context) {
	cmd := redis.NewStringCmd(ctx, "get", m.epochKey())
	if m.link.do(ctx, cmd) != nil {
		return
	}
	n, err := cmd.Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return
	}
	m.sawEpoch(n)
	if mine := m.epoch.Load(); mine > n {
		_ = m.raiseEpoch(ctx, mine)
	}
}

func (m *Manager) sawEpoch(n int64) {
	for {
		old := m.epoch.Load()
		if n <= old || m.epoch.CompareAndSwap(old, n) {
			return
		}
	}
}

var listenPauses = backoff.Policy{Min: 50 * time.Millisecond, Max: time.Second}

// listen hears of other processes' changes. While it does not, nothing is
// cached.
func (m *Manager) listen() {
	for attempt := 0; m.ctx.Err() == nil; attempt++ {
		if m.link.up() && m.hear() {
			attempt = 0
		}
		m.store.live.listening.Store(false)
		m.store.live.staleAll()
		if listenPauses.Wait(m.ctx, attempt) != nil {
			return
		}
	}
}

// hear subscribes until the connection breaks. It reports whether it was made.
func (m *Manager) hear() bool {
	sub := m.link.client.Subscribe(m.ctx, m.channel())
	defer func() { _ = sub.Close() }()
	stop := context.AfterFunc(m.ctx, func() { _ = sub.Close() })
	defer stop()
	heard := false
	for {
		// A silent connection is asked for a sign of life, so that a dead one
		// is noticed although nothing is sent.
		msg, err := sub.ReceiveTimeout(m.ctx, time.Second)
		if err != nil {
			if !isTimeout(err) || m.ctx.Err() != nil || !m.link.up() {
				return heard
			}
			if sub.Ping(m.ctx) != nil {
				return heard
			}
			if msg, err = sub.ReceiveTimeout(m.ctx, time.Second); err != nil {
				return heard
			}
		}
		switch msg := msg.(type) {
		case *redis.Subscription:
			heard = true
			m.store.live.listening.Store(true)
		case *redis.Message:
			m.message(msg.Payload)
		}
	}
}

// message is what another process, or this one, has done.
func (m *Manager) message(text string) {
	if len(text) < 1+len(m.self) {
		return
	}
	kind, rest := text[:1], text[1:]
	if strings.HasPrefix(rest, m.self) {
		return
	}
	sid := rest[len(m.self):]
	switch kind {
	case changedMessage:
		m.store.live.stale(sid, false)
	case goneMessage:
		m.store.live.stale(sid, true)
	case epochMessage:
		m.readEpoch(m.ctx)
	}
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}
