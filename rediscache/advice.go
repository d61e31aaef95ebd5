package rediscache

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Advice returns hints about the settings and the server, each with what to
// change. It is empty if there are none. It does no I/O: what it says of the
// server's memory is of the last look, some seconds ago. It is made for
// health.Advise, and repeats no secret.
func (c *Cache) Advice() []string {
	var out []string
	memory := c.memory.last()
	if memory.Advice != "" {
		out = append(out, memory.Advice)
	}
	if strings.HasPrefix(memory.Policy, "allkeys") {
		out = append(out, "maxmemory-policy "+memory.Policy+" evicts sessions too, which logs users out: use "+
			strings.Replace(memory.Policy, "allkeys", "volatile", 1)+", or a database server of their own")
	}
	if c.State() == StateDown {
		out = append(out, "Redis is away: look after the server of REDIS_URL; what is written meanwhile is made up for when it is back")
	}
	if !c.encrypted() && !c.private() {
		out = append(out, "the connection to Redis is not encrypted: use rediss:// in REDIS_URL, or REDIS_TLS=true")
	}
	if c.cfg.TLSSkipVerify {
		out = append(out, "REDIS_TLS_SKIP_VERIFY: the server's certificate is not looked at; set REDIS_TLS_CA instead")
	}
	return out
}

// encrypted reports whether connections use TLS.
func (c *Cache) encrypted() bool {
	return c.cfg.TLS || c.opts.tls != nil || strings.HasPrefix(c.cfg.URL, "rediss://")
}

// private reports whether all servers are on this machine or, as far as their
// addresses tell, on a private network.
func (c *Cache) private() bool {
	addrs := c.cfg.Addrs
	switch u, err := url.Parse(c.cfg.URL); {
	case c.cfg.URL != "" && err == nil:
		addrs = []string{net.JoinHostPort(u.Hostname(), "0")}
	case len(addrs) == 0:
		addrs = []string{net.JoinHostPort(c.Config().Host, "0")}
	}
	for _, addr := range addrs {
		host, _, err := net.SplitHostPort(addr)
		if err != nil { // a socket
			continue
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			if !ip.IsLoopback() && !ip.IsPrivate() && !ip.IsLinkLocalUnicast() {
				return false
			}
		} else if strings.Contains(host, ".") && !strings.HasSuffix(host, ".internal") && !strings.HasSuffix(host, ".local") {
			return false
		}
	}
	return true
}
