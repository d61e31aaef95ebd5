package session

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// A Client is who sent a request, as far as that can be told.
type Client struct {
	IP        string // behind trusted proxies the address that they name
	Network   string // of the address, coarsely: /24 or /48
	UserAgent string // shortened to 256 bytes
	Family    string // of the browser and its system, without versions: "Firefox/Windows"
}

const maxAgent = 256

// client finds out who sent a request.
func (m *Manager) client(r *http.Request) Client {
	agent := r.UserAgent()
	c := Client{UserAgent: strings.ToValidUTF8(agent[:min(len(agent), maxAgent)], ""), Family: family(agent)}
	addr := m.address(r)
	if !addr.IsValid() {
		return c
	}
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	network, err := addr.Prefix(bits)
	if err == nil {
		c.Network = network.String()
	}
	c.IP = addr.String()
	return c
}

// address is the last one on the way that no trusted proxy has.
func (m *Manager) address(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := ap.Addr().Unmap().WithZone("")
	if len(m.proxies) == 0 || !m.trusted(addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(hops) {
		hop, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			break
		}
		addr = hop.Unmap().WithZone("")
		if !m.trusted(addr) {
			break
		}
	}
	return addr
}

func (m *Manager) trusted(addr netip.Addr) bool {
	for _, n := range m.proxies {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// isSecure reports whether the client came by https.
func (m *Manager) isSecure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	if len(m.proxies) == 0 {
		return false
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !m.trusted(ap.Addr().Unmap().WithZone("")) {
		return false
	}
	proto := r.Header.Get("X-Forwarded-Proto")
	if i := strings.LastIndexByte(proto, ','); i >= 0 { // the nearest proxy's word
		proto = proto[i+1:]
	}
	return strings.EqualFold(strings.TrimSpace(proto), "https")
}

// family is what of a User-Agent does not change with every update.
func family(agent string) string {
	find := func(names ...string) string {
		for _, n := range names {
			if strings.Contains(agent, n) {
				return n
			}
		}
		return "other"
	}
	if agent == "" {
		return ""
	}
	return find("Firefox", "Edg", "OPR", "Chrome", "Safari", "curl", "okhttp", "Go-http-client") + "/" +
		find("Windows", "Android", "iPhone", "iPad", "Mac OS X", "CrOS", "Linux")
}
