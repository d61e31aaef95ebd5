package pgpool

import (
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A target is a parsed connection string.
type target struct {
	config *pgxpool.Config
	mode   PoolMode // what the string alone tells; auto if nothing
	warns  []string // what the host should know, without secrets
}

// problem is a mistake in a connection string, said without repeating it.
type problem string

func (p problem) Error() string { return string(p) }

//nolint:gosec // no credentials: how to write them
const howToWrite = "write postgres://user:password@host:5432/database, and in the password write %40 for @, %3A for :, %2F for /, %3F for ?, %23 for # and %25 for %"

// foreignKeys are what other drivers put into a connection string. pgx would
// send them to the server as settings, and the server would refuse.
var foreignKeys = []string{
	"pgbouncer", "supa", "connection_limit", "pool_timeout", "schema", "workaround", "uselibpqcompat", "sslaccept",
	"socket_timeout", "statement_cache_size", "prepared_statements", "prepare_threshold", "pool_size", "max_overflow",
	"pool_mode", "sslcertauthority", "charset",
}

var (
	noVerify = regexp.MustCompile(`(?i)\bsslmode\s*=\s*'?no-verify'?`)
	// Schemes with the name of a driver of another language, such as
	// postgresql+asyncpg.
	driverScheme = regexp.MustCompile(`^(?i)postgres(ql)?\+\w+://`)
)

// parseTarget reads a connection string. Corrections are made on what pgx
// parsed, never on the string, with two exceptions that pgx does not parse.
func parseTarget(s string) (*target, error) {
	s = strings.TrimSpace(s)
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		s = s[1 : n-1] // quotes that a .env file kept
	}
	switch {
	case strings.HasPrefix(strings.ToLower(s), "jdbc:"):
		return nil, problem("is a JDBC URL; " + howToWrite)
	case strings.Contains(strings.ToUpper(s), "YOUR-PASSWORD"), strings.Contains(strings.ToUpper(s), "YOUR_PASSWORD"):
		return nil, problem("still has the placeholder for the password; put the password of the database in")
	case !strings.Contains(s, "://") && !strings.Contains(s, "="):
		return nil, problem("is not a connection string; " + howToWrite)
	}
	s = driverScheme.ReplaceAllString(s, "postgresql://")
	if scheme, rest, ok := strings.Cut(s, "://"); ok && !strings.ContainsAny(scheme, "= ") {
		if s = strings.ToLower(scheme) + "://" + rest; !strings.HasPrefix(s, "postgres://") && !strings.HasPrefix(s, "postgresql://") {
			return nil, problem("does not start with postgres:// or postgresql://")
		}
	}
	s = noVerify.ReplaceAllString(s, "sslmode=require")
	config, err := pgxpool.ParseConfig(s)
	if err != nil {
		return nil, explainParse(err)
	}
	t := &target{config: config, mode: PoolModeAuto}
	if config.ConnConfig.Host == "" || strings.ContainsAny(config.ConnConfig.Host, "@:/#? \t\r\n\x00") && !isSocket(config.ConnConfig.Host) && !isIPv6(config.ConnConfig.Host) {
		return nil, problem("has no usable host; " + howToWrite)
	}
	t.dropForeignKeys()
	t.demandTLS(s)
	t.preferPrimary(s)
	t.findMode()
	return t, nil
}

// explainParse turns an error of pgx into one that repeats nothing of the
// string.
func explainParse(err error) error {
	text := err.Error()
	for _, known := range []struct{ part, says string }{
		{"sslmode is invalid", "has a wrong sslmode; use disable, prefer, require, verify-ca, verify-full or no-verify"},
		{"unable to read CA file", "names an sslrootcert that cannot be read"},
		{"sslrootcert", "has an sslrootcert that is no usable certificate"},
		{"sslcert", "has an sslcert or sslkey that cannot be used"},
		{"target_session_attrs", "has a wrong target_session_attrs; use any, read-write, read-only, primary, standby or prefer-standby"},
		{"port", "has a wrong port; " + howToWrite},
		{"connect_timeout", "has a wrong connect_timeout; write seconds"},
		{"pool_", "has a wrong pool_ setting"},
		{"service", "names a service that cannot be read"},
	} {
		if strings.Contains(text, known.part) {
			return problem(known.says)
		}
	}
	return problem("cannot be parsed; " + howToWrite)
}

func (t *target) dropForeignKeys() {
	params := t.config.ConnConfig.RuntimeParams
	if v := strings.ToLower(params["pgbouncer"]); v == "true" || v == "1" || v == "yes" {
		t.mode = PoolModeTransaction
	}
	if m := PoolMode(strings.ToLower(params["pool_mode"])); m == PoolModeTransaction || m == PoolModeSession {
		t.mode = m
	}
	if schema := params["schema"]; schema != "" && params["search_path"] == "" {
		params["search_path"] = schema
	}
	for _, key := range foreignKeys {
		delete(params, key)
	}
}

// demandTLS replaces the default of libpq, which is to go on in the clear if
// TLS fails, by TLS or nothing, for hosts beyond the private network.
func (t *target) demandTLS(s string) {
	said := strings.Contains(s, "sslmode") || strings.Contains(s, "ssl=true")
	c := t.config.ConnConfig
	if c.TLSConfig == nil {
		if said && !isPrivate(c.Host) {
			t.warns = append(t.warns, "connection to a public host without TLS")
		}
		return
	}
	if said || isPrivate(c.Host) {
		return
	}
	kept := c.Fallbacks[:0]
	for _, f := range c.Fallbacks {
		if f.TLSConfig != nil || isPrivate(f.Host) {
			kept = append(kept, f)
		}
	}
	c.Fallbacks = kept
}

// preferPrimary makes several hosts mean "the one that is primary", unless the
// string says what it wants. The server announces it, so it costs nothing.
func (t *target) preferPrimary(s string) {
	c := t.config.ConnConfig
	hosts := map[string]bool{net.JoinHostPort(c.Host, port(c.Port)): true}
	for _, f := range c.Fallbacks {
		hosts[net.JoinHostPort(f.Host, port(f.Port))] = true
	}
	if len(hosts) > 1 && !strings.Contains(s, "target_session_attrs") && c.ValidateConnect == nil {
		c.ValidateConnect = notStandby
	}
}

// findMode looks for the signs of a pooler in host and port.
func (t *target) findMode() {
	if t.mode != PoolModeAuto {
		return
	}
	c := t.config.ConnConfig
	switch {
	case isSupabase(c.Host) && c.Port == 6543:
		t.mode = PoolModeTransaction
	case isSupabasePooler(c.Host):
		t.mode = PoolModeSession
	case isSupabase(c.Host):
		t.mode = PoolModeDirect
	case c.Port == 6543:
		t.mode = PoolModeTransaction
	}
}

// isPrivate reports whether a host is on this machine or, as far as its name
// tells, on a private network, where servers often have no certificate.
func isPrivate(host string) bool {
	if isSocket(host) || host == "localhost" {
		return true
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
	}
	if !strings.Contains(host, ".") {
		return true // a name of Docker Compose or Kubernetes
	}
	for _, suffix := range []string{".local", ".localhost", ".internal", ".svc", ".lan", ".test"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

func isSocket(host string) bool {
	return strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || len(host) > 2 && host[1] == ':' && host[2] == '\\'
}

func isIPv6(host string) bool {
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Is6()
}

// hostPort shows where a connection goes.
func hostPort(c *pgconn.Config) string { return net.JoinHostPort(c.Host, port(c.Port)) }
