package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache"
)

// examineRedis looks at what rediscache would meet. It returns the cache, for
// the sessions, nil if there is none, and the function that stops it.
func examineRedis(ctx context.Context, r *report, o options, p *progress) (cache *rediscache.Cache, stop func()) {
	stop = func() {}
	cfg, err := rediscache.ConfigFromEnv()
	if err != nil {
		r.refused(err)
		return nil, stop
	}
	configured := isSet("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_ADDRS")
	cfg.Required = true // Start proves that Redis is there
	cache, err = rediscache.New(cfg, rediscache.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		r.refused(err)
		return nil, stop
	}
	stop = func() {
		ctx, cancel := closing()
		defer cancel()
		_ = cache.Stop(ctx) // there is nothing that we could still do
	}
	p.step("connecting to Redis")
	limit := o.timeout / 3
	if !configured {
		limit = min(limit, 300*time.Millisecond) // just in case that there is one beside us
	}
	reach, cancel := reaching(ctx, limit)
	err = cache.Start(reach)
	cancel()
	variable := "REDIS_URL"
	switch {
	case isSet("REDIS_URL"):
	case isSet("REDIS_ADDRS"):
		variable = "REDIS_ADDRS"
	case configured:
		variable = "REDIS_HOST"
	}
	switch found, change := whyNot(orNil(err), variable); {
	case err != nil && !configured:
		r.note("connection", "no Redis is configured, and there is none on localhost:6379", "set REDIS_URL; without it, caches and sessions stay in each process", "REDIS_URL")
		return cache, stop
	case err != nil:
		r.problem("connection", found, change, variable)
		return cache, stop
	}
	s := &server{report: r, cache: cache, variable: variable, instances: int64(o.instances)}
	p.step("Redis: settings")
	if err := s.look(ctx); err != nil {
		found, change := whyNot(err, variable)
		r.problem("settings", "could not be looked at: "+found, change, variable)
	}
	var advice []string
	for _, a := range cache.Advice() {
		if !strings.HasPrefix(a, "maxmemory-policy") { // said by eviction, which looks now
			advice = append(advice, a)
		}
	}
	r.advised(advice)
	return cache, stop
}

// orNil keeps whyNot from a nil error.
func orNil(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}

// server is a Redis that answers.
type server struct {
	*report
	cache     *rediscache.Cache
	variable  string
	instances int64
	info      map[string]string
}

func (s *server) look(ctx context.Context) error {
	client := s.cache.Redis()
	s.info = map[string]string{}
	began := time.Now()
	for _, section := range []string{"server", "clients", "memory", "persistence", "replication"} { // Redis 6 takes one at a time
		text, err := client.Info(ctx, section).Result()
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
				s.info[name] = value
			}
		}
	}
	took := time.Since(began) / 5
	s.version(took)
	s.encryption()
	s.eviction()
	s.memory()
	s.persistence()
	s.role()
	s.connections()
	before := time.Now()
	now, err := client.Time(ctx).Result()
	if err != nil {
		return err
	}
	reportClock(s.report, before, now, time.Now())
	return nil
}

func (s *server) number(name string) int64 {
	n, _ := strconv.ParseInt(s.info[name], 10, 64)
	return n
}

func (s *server) version(took time.Duration) {
	version := s.info["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 6 {
		s.problem("version", "Redis "+version, "6 or later is supported: upgrade the server")
		return
	}
	limit := s.cache.Config().Timeout
	if _, cluster := s.cache.Redis().(*redis.ClusterClient); cluster {
		version += ", a Cluster, of which one node was looked at,"
	}
	s.ok("connection", "Redis %s answers in %v", version, took.Round(10*time.Microsecond))
	// A call may wait for a connection, be written, read, and retried once.
	if took*5 > limit {
		s.problem("latency", fmt.Sprintf("an answer takes %v, and REDIS_TIMEOUT is %v", took.Round(time.Millisecond), limit), "raise REDIS_TIMEOUT, or move closer to the server", "REDIS_TIMEOUT")
	}
}

// encryption says what the cache's own advice does not.
func (s *server) encryption() {
	cfg := s.cache.Config()
	if encrypted := cfg.TLS || strings.HasPrefix(strings.ToLower(cfg.URL), "rediss://"); encrypted {
		s.ok("encryption", "TLS")
	} else if len(s.cache.Advice()) == 0 {
		s.ok("encryption", "none; the server is on this machine or on a private network")
	}
	password := "REDIS_PASSWORD"
	if s.variable == "REDIS_URL" {
		password = s.variable
	}
	production := strings.EqualFold(os.Getenv("APP_ENV"), "production") //nolint:forbidigo // doctor's subject is the environment
	switch change := "set requirepass or an ACL user at the server, and put it into " + password; {
	case s.hasPassword():
		s.ok("password", "set")
	case production:
		s.problem("password", "none: whoever reaches the server can read and change everything", change, password)
	default:
		s.note("password", "none", "in production "+change, password)
	}
}

func (s *server) hasPassword() bool {
	switch client := s.cache.Redis().(type) {
	case *redis.Client:
		o := client.Options()
		return o.Password != "" || o.CredentialsProviderContext != nil || o.StreamingCredentialsProvider != nil
	case *redis.ClusterClient:
		o := client.Options()
		return o.Password != "" || o.CredentialsProviderContext != nil || o.StreamingCredentialsProvider != nil
	default:
		return true
	}
}

// eviction looks at the policy with the eyes of sessions, which are data.
func (s *server) eviction() {
	switch policy := s.info["maxmemory_policy"]; {
	case policy == "":
		s.note("eviction", "the server does not tell its maxmemory-policy", "make sure that it is noeviction if sessions are in this Redis")
	case policy == "noeviction":
		s.ok("eviction", "noeviction")
	case strings.HasPrefix(policy, "allkeys"):
		s.problem("eviction", "maxmemory-policy "+policy+": when memory is short, users are logged out", "set it to noeviction, or keep the sessions in a Redis of their own")
	default:
		s.note("eviction", "maxmemory-policy "+policy+": sessions have a lifetime, so that they are evicted too", "set it to noeviction, or keep the sessions in a Redis of their own")
	}
}

func (s *server) memory() {
	used, limit := s.number("used_memory"), s.number("maxmemory")
	switch {
	case limit == 0:
		s.note("memory", s.info["used_memory_human"]+" used, without a limit: the kernel may end the server when the machine's is used up", "set maxmemory at the server")
	case used > limit/10*9:
		s.problem("memory", fmt.Sprintf("%s of %s used: %s", s.info["used_memory_human"], s.info["maxmemory_human"], percent(used, limit)), "raise maxmemory at the server, or store less")
	default:
		s.ok("memory", "%s of %s used: %s", s.info["used_memory_human"], s.info["maxmemory_human"], percent(used, limit))
	}
}

func (s *server) persistence() {
	if s.info["aof_enabled"] == "1" {
		s.ok("persistence", "every write is logged (appendonly yes)")
		return
	}
	s.note("persistence", "a crash of the server loses the last writes, sessions too", "set appendonly yes if sessions are in this Redis")
}

func (s *server) role() {
	if s.info["role"] == "slave" && s.cache.Config().MasterName == "" {
		if _, cluster := s.cache.Redis().(*redis.ClusterClient); !cluster {
			s.problem("role", "this is a replica: writes fail", "put the master's address into "+s.variable+", or use REDIS_ADDRS and REDIS_MASTER_NAME", s.variable)
			return
		}
	}
	s.ok("role", "%s with %s", strings.Replace(s.info["role"], "slave", "replica", 1), plural(int(s.number("connected_slaves")), "replica"))
}

// connections counts the pool, up to 10 for pipelines, and one that listens.
func (s *server) connections() {
	limit := s.number("maxclients")
	each := int64(s.cache.Config().PoolSize) + 11
	need := each * s.instances
	found := fmt.Sprintf("up to %d × %s = %d, %s of maxclients %d", each, plural(int(s.instances), "instance"), need, percent(need, limit), limit)
	switch {
	case limit == 0: // Redis before 7 does not tell
	case need > limit:
		s.problem("connections", found, fmt.Sprintf("lower REDIS_POOL_SIZE to %d, or raise maxclients at the server", max(limit/s.instances-11, 1)), "REDIS_POOL_SIZE")
	default:
		s.ok("connections", "%s", found)
	}
}
