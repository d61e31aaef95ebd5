package pgpool

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/pedro-go/pedro/internal/env"
)

// supabaseRef is the name of a project: 20 lower-case letters today, a little
// more generously read here.
var supabaseRef = regexp.MustCompile(`^[a-z0-9]{8,40}$`)

func isSupabase(host string) bool {
	return strings.HasSuffix(host, ".supabase.co") || strings.HasSuffix(host, ".supabase.com")
}

func isSupabasePooler(host string) bool { return strings.HasSuffix(host, ".pooler.supabase.com") }

// isSupabaseDirect reports whether a host is the database itself, which has an
// IPv6 address only.
func isSupabaseDirect(host string) bool {
	return strings.HasPrefix(host, "db.") && strings.HasSuffix(host, ".supabase.co")
}

// supabaseURL builds the connection string of a project from the Supabase
// fields, or notes in p what is missing.
func (c Config) supabaseURL(p *env.Problems) string {
	password := cmp.Or(c.SupabasePassword, c.SupabaseServiceKey)
	if password == "" {
		p.Add("SUPABASE_DB_PASSWORD", "missing; SUPABASE_URL alone does not open the database")
	}
	ref, local := c.supabaseProject(p)
	if ref == "" && !local || password == "" {
		return ""
	}
	u := url.URL{Scheme: "postgresql", Path: "/postgres", RawQuery: "sslmode=require"}
	switch {
	case local: // the command-line tool's servers: API at 54321, database at 54322
		u.User = url.UserPassword(DefaultSupabaseUser, password)
		u.Host, u.RawQuery = "127.0.0.1:54322", "sslmode=disable"
	case c.SupabasePoolerHost != "":
		host, portText, err := net.SplitHostPort(c.SupabasePoolerHost)
		if err != nil {
			host, portText = c.SupabasePoolerHost, "5432"
		}
		if n, err := strconv.ParseUint(portText, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, "/@:? ") {
			p.Add("SUPABASE_POOLER_HOST", "must be a host name, optionally with a port, such as aws-0-eu-central-1.pooler.supabase.com")
			return ""
		}
		u.User = url.UserPassword(DefaultSupabaseUser+"."+ref, password)
		u.Host = net.JoinHostPort(host, portText)
	default:
		u.User = url.UserPassword(DefaultSupabaseUser, password)
		u.Host = "db." + ref + ".supabase.co:5432"
	}
	return u.String()
}

// supabaseProject finds the project's name in SUPABASE_URL, or for a custom
// domain in the service key. Both together must agree.
func (c Config) supabaseProject(p *env.Problems) (ref string, local bool) {
	u, err := url.Parse(strings.TrimSpace(c.SupabaseURL))
	if err != nil || u.Hostname() == "" {
		p.Add("SUPABASE_URL", "must be the project's address, https://<ref>.supabase.co")
		return "", false
	}
	host := strings.ToLower(u.Hostname())
	if host == "localhost" || host == "127.0.0.1" {
		return "", true
	}
	keyRef := refOfKey(c.SupabaseServiceKey)
	if name, ok := strings.CutSuffix(host, ".supabase.co"); ok {
		ref = strings.TrimPrefix(name, "db.")
	} else {
		ref = keyRef
	}
	switch {
	case ref == "":
		p.Add("SUPABASE_URL", "does not tell the project; use https://<ref>.supabase.co, or set DATABASE_URL")
	case !supabaseRef.MatchString(ref):
		p.Add("SUPABASE_URL", "must be the project's address, https://<ref>.supabase.co")
		ref = ""
	case keyRef != "" && keyRef != ref:
		p.Add("SUPABASE_SERVICE_KEY", "belongs to another project than SUPABASE_URL")
	}
	return ref, false
}

// refOfKey returns the project named in a service key, if it is a JWT.
// Nothing is trusted because of it, so the signature does not matter.
func refOfKey(key string) string {
	parts := strings.Split(key, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return ""
	}
	var claims struct {
		Ref string `json:"ref"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Ref
}

// connectHint says what to do about a failed connection, where that is known.
func connectHint(host string, err error) string {
	text := err.Error()
	switch {
	case isSupabaseDirect(host) && (strings.Contains(text, "network is unreachable") || strings.Contains(text, "no route to host") ||
		strings.Contains(text, "no such host") || strings.Contains(text, "cannot assign requested address")):
		return "direct Supabase hosts have an IPv6 address only, which this machine does not reach: use the session pooler's connection string, or set SUPABASE_POOLER_HOST"
	case strings.Contains(text, "Tenant or user not found"):
		return "the pooler does not know the user: it must be postgres.<ref>, at the pooler host that the dashboard shows"
	default:
		return ""
	}
}

func port(n uint16) string { return strconv.Itoa(int(n)) }
