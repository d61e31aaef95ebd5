package session

import (
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// longFallback is when an outage is more than a restart.
const longFallback = 5 * time.Minute

// Advice returns plain hints on what to change, with the variable to change it
// by, for people who look after the service. It is empty when all is well, and
// asks nobody.
func (m *Manager) Advice() []string {
	var out []string
	if !m.cfg.Production {
		for _, s := range m.cfg.Secrets {
			if weak := weakness(s); weak != "" {
				out = append(out, "SESSION_SECRET "+weak+": make one with openssl rand -hex 32")
				break
			}
		}
		if host := m.remoteRedis(); host != "" {
			out = append(out, "Redis is on "+host+", so this looks like production: set APP_ENV=production for Secure cookies and strong secrets")
		}
	}
	if m.link == nil && m.store.back == nil {
		out = append(out, "sessions are in memory only: give New a Redis client, or every restart logs everybody out")
	}
	s := m.Stats()
	if since := s.FallbackSince; !since.IsZero() && time.Since(since) > longFallback {
		out = append(out, fmt.Sprintf("Redis has been away for %v and %d sessions wait for it: look after the server of REDIS_URL", time.Since(since).Round(time.Second), s.Waiting))
	}
	if s.MemoryBytes > m.cfg.MemoryBytes*9/10 {
		out = append(out, "the memory for sessions is nearly full, and in an outage some users would not be known: raise SESSION_MEMORY_BYTES")
	}
	if s.Largest > int64(m.cfg.MaxBytes)*8/10 {
		out = append(out, fmt.Sprintf("a session of %d bytes was saved, near SESSION_MAX_BYTES of %d: keep such data in a cache or a database, or raise it", s.Largest, m.cfg.MaxBytes))
	}
	if retired := s.Rejected[ReasonRetired]; retired > 100 && retired > s.Loaded/100 {
		out = append(out, "many requests show IDs that were replaced: raise SESSION_REGENERATE_GRACE if clients lose responses, or look for theft in the events")
	}
	if m.cfg.SameSite == "none" && !m.cfg.Partitioned {
		out = append(out, "SESSION_SAMESITE=none sends the cookie from any site: consider SESSION_PARTITIONED=true, and http.CrossOriginProtection")
	}
	return out
}

// remoteRedis is where Redis is, if that is another machine.
func (m *Manager) remoteRedis() string {
	if m.link == nil {
		return ""
	}
	var addrs []string
	switch c := m.link.client.(type) {
	case *redis.Client:
		addrs = []string{c.Options().Addr}
	case *redis.ClusterClient:
		addrs = c.Options().Addrs
	}
	for _, addr := range addrs {
		host, _, err := net.SplitHostPort(addr)
		if err != nil || host == "localhost" {
			continue
		}
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return host
		}
	}
	return ""
}
