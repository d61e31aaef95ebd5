package rediscache

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// target is one server as a URL names it.
type target struct {
	network  string // tcp or unix
	addr     string // host:port, or the socket's path
	username string
	password string
	db       int
	tls      bool
}

// What can be wrong with REDIS_URL. The texts are fixed: the parse errors of
// net/url and go-redis repeat the URL, password included, and even a "wrong
// port" may be half of a password that was not percent-encoded.
var (
	errURLForm   = errors.New("is not a URL; write redis://user:password@host:6379/0, and percent-encode special characters of the password (@ as %40, / as %2F, # as %23)")
	errURLScheme = errors.New("must begin with redis://, rediss:// or unix://")
	errURLHost   = errors.New("names no host, or an impossible port; percent-encode special characters of the password")
	errURLDB     = errors.New("must end in a database number, such as /0, or in nothing")
	errURLSocket = errors.New("must name a socket's path, as in unix:///run/redis/redis.sock?db=0")
	errURLQuery  = errors.New("has an unknown or repeated parameter; only db=N is known; other settings have variables of their own")
)

// parseURL reads a Redis URL. Its errors never show any part of it.
func parseURL(s string) (target, error) {
	if s == "" {
		return target{}, errURLForm
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Fragment != "" || strings.Contains(s, "#") {
		return target{}, errURLForm
	}
	t := target{network: "tcp", username: u.User.Username()}
	t.password, _ = u.User.Password()

	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return target{}, errURLQuery
	}
	db := ""
	for name, values := range query {
		if name != "db" || len(values) != 1 {
			return target{}, errURLQuery
		}
		db = values[0]
	}

	switch u.Scheme {
	case "redis", "rediss":
		t.tls = u.Scheme == "rediss"
		host, port := u.Hostname(), u.Port()
		if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) || strings.ContainsAny(host, " \r\n,") {
			return target{}, errURLHost
		}
		if strings.HasSuffix(u.Host, ":") || host == "" && u.Host != "" {
			return target{}, errURLHost
		}
		if host == "" {
			host = DefaultHost
		}
		if port == "" {
			port = strconv.Itoa(DefaultPort)
		}
		t.addr = net.JoinHostPort(host, port)
		if path := strings.Trim(u.Path, "/"); path != "" {
			if db != "" {
				return target{}, errURLDB
			}
			db = path
		}
	case "unix":
		t.network, t.addr = "unix", u.Path
		if u.Host != "" || u.Path == "" || strings.HasSuffix(u.Path, "/") {
			return target{}, errURLSocket
		}
	default:
		return target{}, errURLScheme
	}
	if db != "" {
		if t.db, err = strconv.Atoi(db); err != nil || t.db < 0 {
			return target{}, errURLDB
		}
	}
	return t, nil
}
