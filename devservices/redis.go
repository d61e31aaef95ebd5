package devservices

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// Redis is one Redis server. Its methods are safe for concurrent use.
type Redis struct {
	*server

	opts   redisOptions
	socket string
}

// StartRedis starts a Redis server and returns when it answers, after about 20 ms. It listens on loopback only, keeps
// nothing on disk unless [WithAppendOnly] is given, and has no password unless [WithPassword] is.
//
// Close it when you are done with it.
func StartRedis(ctx context.Context, opts ...RedisOption) (*Redis, error) {
	o := newRedisOptions(opts)
	return freshStart(ctx, func(ctx context.Context) (*Redis, error) {
		r, err := newRedis("redis", o)
		if errors.Is(err, ErrNotInstalled) {
			return startContainedRedis(ctx, o, err)
		}
		if err != nil {
			return nil, err
		}
		if err := r.boot(ctx, nil); err != nil {
			return nil, errors.Join(err, r.Close())
		}
		return r, nil
	})
}

// freshStart runs start again, with everything new, while a stranger takes the port before the server can, and once if
// it was the template's fault.
func freshStart[T any](ctx context.Context, start func(context.Context) (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		s, err := start(ctx)
		again := errors.Is(err, errPortTaken) && attempt < 5 || errors.Is(err, errDamaged) && attempt == 1
		if !again || ctx.Err() != nil {
			return s, err
		}
	}
}

// newRedis prepares a server that does not run yet.
func newRedis(kind string, o redisOptions) (*Redis, error) {
	dir, ok := lookup("redis-server")
	if !ok {
		return nil, redisProduct.missing()
	}
	s, err := newServer(kind)
	if err != nil {
		return nil, err
	}
	r := &Redis{server: s, opts: o}
	// The name as found, its link not resolved: Debian's redis-server is a link to redis-check-rdb, which looks at the
	// name it was called by.
	s.exe = filepath.Join(dir, "redis-server")
	s.args = []string{filepath.Join(s.dir, "redis.conf")}
	s.probe = r.answers
	if o.unixSocket {
		r.socket = filepath.Join(s.dir, "redis.sock")
		if len(r.socket) > maxSocketPath {
			return nil, errors.Join(fmt.Errorf("devservices: socket path %s is longer than %d bytes; set DEVSERVICES_TMP to a shorter directory", r.socket, maxSocketPath), r.Close())
		}
	}
	return r, nil
}

// maxSocketPath is what fits into sockaddr_un on macOS; Linux has four bytes more.
const maxSocketPath = 103

// boot writes the configuration, with extra lines at its end, and starts the server.
func (r *Redis) boot(ctx context.Context, extra []string) error {
	text, err := r.config(extra)
	if err != nil {
		return err
	}
	if err := r.bed.writeFile(r.args[0], text); err != nil {
		return err
	}
	return r.start(ctx)
}

// URL is the server's address with its credentials, as REDIS_URL wants it: redis://127.0.0.1:20000/0, or rediss:// with
// TLS. Its user is the default one; see [Redis.UserURL].
func (r *Redis) URL() string { return r.url("", r.opts.password) }

// UserURL is [Redis.URL] for a user made by [WithUser].
func (r *Redis) UserURL(name string) string {
	for _, u := range r.opts.users {
		if u.name == name {
			return r.url(u.name, u.password)
		}
	}
	return r.url(name, "")
}

func (r *Redis) url(user, password string) string {
	u := url.URL{Scheme: "redis", Host: r.Addr(), Path: "/0"}
	if r.opts.tls != nil {
		u.Scheme = "rediss"
	}
	if user != "" || password != "" {
		u.User = url.UserPassword(user, password)
	}
	return u.String()
}

// Password is the default user's password, empty if there is none.
func (r *Redis) Password() string { return r.opts.password }

// Socket is the path of the server's Unix socket, empty without [WithUnixSocket].
func (r *Redis) Socket() string { return r.socket }

// Do sends one command as the default user over a connection of its own and returns the reply: a string, an int64, a
// []any, or nil. An error reply is an error. It is meant for preparing and inspecting a server, not for speed.
func (r *Redis) Do(ctx context.Context, args ...string) (any, error) {
	c, err := r.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("devservices: redis: %w", err)
	}
	defer c.close()
	if r.opts.password != "" {
		if _, err := c.do("AUTH", r.opts.password); err != nil {
			return nil, fmt.Errorf("devservices: redis: %w", err)
		}
	}
	reply, err := c.do(args...)
	if err != nil {
		return nil, fmt.Errorf("devservices: redis: %s: %w", args[0], err)
	}
	return reply, nil
}

// answers is the readiness probe: a raw PING. A refusal for want of a password is an answer too; LOADING is none.
func (r *Redis) answers(ctx context.Context) error {
	c, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	_, err = c.do("PING")
	var reply redisError
	if errors.As(err, &reply) && !strings.HasPrefix(string(reply), "LOADING") {
		return nil
	}
	return err
}
