package session

import (
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/env"
)

// minSecret is what production demands, in characters: 32 hexadecimal digits
// are 128 bits.
const minSecret = 32

// wellKnown are secrets, or parts of them, that stand in documentation. Whoever
// deploys one of them has none.
var wellKnown = []string{
	"your-secret", "your_secret", "yoursecret", "keyboard cat", "changeme", "change-me", "change_me", "change this", "secret-key-here",
	"session-secret", "session_secret", "super-secret", "supersecret", "my-secret", "mysecret", "development", "example",
	"password", "0123456789abcdef", "abcdefghijklmnop", "dev-secret", "some-secret", "test-secret",
}

// validate reports everything that is wrong, by the name of the variable.
func (c Config) validate() error {
	c = c.withDefaults()
	var p env.Problems
	c.validateSecrets(&p)
	c.validateCookie(&p)
	c.validateTimes(&p)
	for _, s := range c.TrustedProxies {
		if _, err := parseNetwork(s); err != nil {
			p.Add("SESSION_TRUSTED_PROXIES", "each must be an address such as 10.0.0.1 or a network such as 10.0.0.0/8, separated by commas")
			break
		}
	}
	if c.MaxBytes < 256 {
		p.Add("SESSION_MAX_BYTES", "must be 256 or more; leave it unset for the default")
	}
	if c.MaxPerUser < 0 {
		p.Add("SESSION_MAX_PER_USER", "must be 0 (any number) or more")
	}
	if c.MemoryBytes < 1<<16 {
		p.Add("SESSION_MEMORY_BYTES", "must be 65536 or more; leave it unset for the default")
	}
	switch c.Fallback {
	case FallbackMemory, FallbackReadOnly, FallbackOff:
	default:
		p.Add("SESSION_FALLBACK", "must be memory, read-only or off")
	}
	return p.Err(ErrInvalidConfig)
}

// validate reports what is wrong with the options and the client.
func (o *options) validate(p *env.Problems, client redis.UniversalClient, cfg Config) {
	if v := reflect.ValueOf(client); v.Kind() == reflect.Pointer && v.IsNil() {
		p.Add("client", "is a nil %T: make one, or give nil itself to keep sessions in memory only", client)
	}
	if o.express != nil {
		o.express.validate(p, cfg)
	}
}

func (c Config) validateSecrets(p *env.Problems) {
	if len(c.Secrets) == 0 && c.Production {
		p.Add("SESSION_SECRET", "is needed in production; make one with: openssl rand -hex 32")
	}
	for _, s := range c.Secrets {
		weak := weakness(s)
		switch {
		case s == "":
			p.Add("SESSION_SECRET", "must not hold an empty secret")
		case weak != "" && c.Production:
			p.Add("SESSION_SECRET", "%s; make one with: openssl rand -hex 32", weak)
		default:
			continue
		}
		break
	}
}

// weakness says why a secret is none, or is empty.
func weakness(s string) string {
	lower := strings.ToLower(s)
	for _, known := range wellKnown {
		if strings.Contains(lower, known) {
			return "is, or contains, a well-known example"
		}
	}
	if len(s) < minSecret {
		return "must have 32 characters or more in production"
	}
	distinct := map[rune]bool{}
	for _, r := range s {
		distinct[r] = true
	}
	if len(distinct) < 8 {
		return "repeats a few characters"
	}
	return ""
}

func (c Config) validateCookie(p *env.Problems) {
	if !validName(c.Name) {
		p.Add("SESSION_NAME", "must be letters, digits and any of !#$%%&'*+-.^_`|~")
	}
	if strings.HasPrefix(c.Name, "__Host-") && (c.Domain != "" || c.Path != "/") {
		p.Add("SESSION_NAME", "__Host- excludes SESSION_DOMAIN and any SESSION_PATH but /; drop one of them")
	}
	if !sendable("/", c.Domain) {
		p.Add("SESSION_DOMAIN", "must be a host name such as example.org")
	}
	switch {
	case !strings.HasPrefix(c.Path, "/"), strings.ContainsAny(c.Path, ";\r\n\""):
		p.Add("SESSION_PATH", "must begin with /, and hold no semicolon, quote or line break")
	case !sendable(c.Path, ""):
		p.Add("SESSION_PATH", "must be of printable ASCII: escape all else, as a URL does")
	}
	switch c.SameSite {
	case "lax", "strict", "none":
	default:
		p.Add("SESSION_SAMESITE", "must be lax, strict or none")
	}
	if strings.ContainsAny(c.KeyPrefix, "{}\r\n ") {
		p.Add("SESSION_PREFIX", "must not hold braces, which say where a Cluster keeps a key, or blanks")
	}
}

func (c Config) validateTimes(p *env.Problems) {
	if c.IdleTimeout < time.Second {
		p.Add("SESSION_IDLE_TIMEOUT", "must be 1s or more")
	}
	if c.Lifetime > 0 && c.Lifetime < c.IdleTimeout {
		p.Add("SESSION_LIFETIME", "must not be less than SESSION_IDLE_TIMEOUT; negative means never")
	}
	if c.RegenerateGrace < 0 {
		p.Add("SESSION_REGENERATE_GRACE", "must not be negative")
	}
	if c.RegenerateEvery > 0 && c.RegenerateEvery < c.RegenerateGrace {
		p.Add("SESSION_REGENERATE_EVERY", "must not be less than SESSION_REGENERATE_GRACE; negative means never")
	}
	if c.TouchEvery < 0 || c.TouchEvery > c.IdleTimeout/2 {
		p.Add("SESSION_TOUCH_EVERY", "must be at most half of SESSION_IDLE_TIMEOUT, or sessions in use would expire")
	}
	if c.Timeout < time.Millisecond {
		p.Add("SESSION_TIMEOUT", "must be 1ms or more")
	}
	if c.LocalCache < 0 || c.LocalCache > time.Minute {
		p.Add("SESSION_LOCAL_CACHE", "must be between 0 (off) and 1m")
	}
}

// sendable reports whether net/http sends a cookie with this path and domain as
// they are: what is not valid it leaves out, and only logs that.
func sendable(path, domain string) bool {
	c := http.Cookie{Name: "x", Path: path, Domain: domain, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	return c.Valid() == nil
}

// validName reports whether a cookie may have this name (RFC 9110, token).
func validName(s string) bool {
	for _, r := range s {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>@,;:\\\"/[]?={}", r) {
			return false
		}
	}
	return s != ""
}

// parseNetwork reads an address or a network.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	return netip.ParsePrefix(s)
}
