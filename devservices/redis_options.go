package devservices

import "slices"

// RedisOption changes how [StartRedis], [StartRedisSentinel] and [StartRedisCluster] set their servers up.
type RedisOption func(*redisOptions)

type redisOptions struct {
	password   string
	users      []redisUser
	tls        *redisTLS
	appendOnly bool
	unixSocket bool
	directives []string
}

type redisUser struct {
	name, password string
	rules          []string
}

func newRedisOptions(opts []RedisOption) redisOptions {
	var o redisOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// WithPassword sets the default user's password. Empty, the default, lets everybody on this machine in.
func WithPassword(password string) RedisOption {
	return func(o *redisOptions) { o.password = password }
}

// WithUser adds a user with ACL rules, for instance "~app:*", "+@read", "+@write". Without rules the user may do
// everything. Repeating it adds further users.
func WithUser(name, password string, rules ...string) RedisOption {
	if len(rules) == 0 {
		rules = []string{"~*", "&*", "+@all"}
	}
	u := redisUser{name, password, slices.Clone(rules)}
	return func(o *redisOptions) { o.users = append(slices.Clip(o.users), u) }
}

// WithAppendOnly makes the server write every change to disk before it answers (appendonly yes, appendfsync always),
// so that nothing acknowledged is lost when it is killed. Without it a restarted server is empty.
func WithAppendOnly() RedisOption {
	return func(o *redisOptions) { o.appendOnly = true }
}

// WithUnixSocket makes the server listen on a Unix socket as well; see [Redis.Socket].
func WithUnixSocket() RedisOption {
	return func(o *redisOptions) { o.unixSocket = true }
}

// WithRedisConfig adds a line to redis.conf, for instance "maxmemory 3mb". It stands after our own lines and so wins.
// Repeating it adds further lines.
func WithRedisConfig(line string) RedisOption {
	return func(o *redisOptions) { o.directives = append(slices.Clip(o.directives), line) }
}
