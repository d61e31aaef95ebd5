package devservices

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sentinelMaster is the name under which sentinels watch the master.
const sentinelMaster = "mymaster"

// Sentinel's own pace is made for networks: it would take 10 s until all know one another. Its hidden timers shorten
// that to a second; servers before version 7 do not have them and take the 10 s.
const (
	sentinelDownAfter       = 500 * time.Millisecond
	sentinelFailoverTimeout = 5 * time.Second
)

// RedisSentinel is one master, two replicas and three sentinels. Its methods are safe for concurrent use.
type RedisSentinel struct {
	nodes     []*Redis
	sentinels []*Redis
}

// StartRedisSentinel starts a master, two replicas and three sentinels that watch them, and returns when all know of one
// another and both replicas follow: after about 1 s. A dead master is replaced about 1.5 s after its death.
//
// The options are for master and replicas. Sentinels have no password and no TLS.
func StartRedisSentinel(ctx context.Context, opts ...RedisOption) (*RedisSentinel, error) {
	o := newRedisOptions(opts)
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	if _, ok := lookup("redis-sentinel"); !ok {
		return nil, sentinelProduct.missing()
	}
	return freshStart(ctx, func(ctx context.Context) (*RedisSentinel, error) {
		s := &RedisSentinel{}
		if err := s.boot(ctx, o); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		return s, nil
	})
}

func (s *RedisSentinel) boot(ctx context.Context, o redisOptions) error {
	for i := range 3 {
		r, err := newRedis("redis", o)
		if err != nil {
			return err
		}
		s.nodes = append(s.nodes, r)
		var extra []string
		if i > 0 {
			extra = append(extra, "replicaof 127.0.0.1 "+strconv.Itoa(s.nodes[0].Port()))
		}
		if err := r.boot(ctx, extra); err != nil {
			return err
		}
	}
	for range 3 {
		r, err := newSentinel()
		if err != nil {
			return err
		}
		s.sentinels = append(s.sentinels, r)
		text, err := sentinelConfig(r, s.nodes[0])
		if err != nil {
			return err
		}
		if err := r.bed.writeFile(r.args[0], text); err != nil {
			return err
		}
		if err := r.start(ctx); err != nil {
			return err
		}
		hurry(ctx, r)
	}
	return poll(ctx, "sentinels", s.settled)
}

func newSentinel() (*Redis, error) {
	dir, ok := lookup("redis-sentinel")
	if !ok {
		return nil, sentinelProduct.missing()
	}
	r, err := newRedis("sentinel", redisOptions{})
	if err != nil {
		return nil, err
	}
	r.exe = filepath.Join(dir, "redis-sentinel")
	return r, nil
}

// sentinelConfig is what a sentinel starts from. It goes on writing its state into the same file.
func sentinelConfig(r, master *Redis) (string, error) {
	lines := []string{
		"bind 127.0.0.1",
		"port " + strconv.Itoa(r.Port()),
		"dir " + quote(r.dir),
		"daemonize no",
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2", sentinelMaster, master.Port()),
		fmt.Sprintf("sentinel down-after-milliseconds %s %d", sentinelMaster, sentinelDownAfter.Milliseconds()),
		fmt.Sprintf("sentinel failover-timeout %s %d", sentinelMaster, sentinelFailoverTimeout.Milliseconds()),
		fmt.Sprintf("sentinel parallel-syncs %s 2", sentinelMaster),
	}
	if master.opts.password != "" {
		lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %s", sentinelMaster, quote(master.opts.password)))
	}
	if t := master.opts.tls; t != nil {
		// A sentinel reaches TLS servers by the settings of replication, and speaks plain TCP to its own clients beside.
		files, err := t.files(r)
		if err != nil {
			return "", err
		}
		lines = append(lines, files...)
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// hurry shortens a sentinel's timers as far as it has them.
func hurry(ctx context.Context, r *Redis) {
	_, _ = r.Do(ctx, "SENTINEL", "DEBUG", // an old sentinel refuses, and is slower
		"info-period", "200", "publish-period", "200", "ping-period", "100", "ask-period", "200",
		"default-down-after", "500", "slave-reconf-timeout", "1000", "tilt-trigger", "5000", "tilt-period", "1000")
}

// settled reports what is still missing: each sentinel has to know two replicas and two other sentinels, and the
// replicas have to follow.
func (s *RedisSentinel) settled(ctx context.Context) error {
	for _, r := range s.sentinels {
		reply, err := r.Do(ctx, "SENTINEL", "MASTER", sentinelMaster)
		if err != nil {
			return err
		}
		state := pairs(reply)
		if state["num-slaves"] != "2" || state["num-other-sentinels"] != "2" || state["flags"] != "master" {
			return fmt.Errorf("%s knows %s replicas and %s other sentinels, the master is %q",
				r.Addr(), state["num-slaves"], state["num-other-sentinels"], state["flags"])
		}
	}
	for _, r := range s.nodes[1:] {
		if err := follows(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// follows reports why a replica does not follow its master yet.
func follows(ctx context.Context, r *Redis) error {
	reply, err := r.Do(ctx, "INFO", "replication")
	if err != nil {
		return err
	}
	if text, ok := reply.(string); !ok || !strings.Contains(text, "master_link_status:up") {
		return fmt.Errorf("replica %s has no link to its master yet", r.Addr())
	}
	return nil
}

// MasterName is the name by which sentinels are asked for the master, "mymaster".
func (s *RedisSentinel) MasterName() string { return sentinelMaster }

// Addrs are the addresses of the sentinels.
func (s *RedisSentinel) Addrs() []string { return addrs(s.sentinels) }

// Nodes are the master and its replicas; at the start the master is the first.
func (s *RedisSentinel) Nodes() []*Redis { return append([]*Redis(nil), s.nodes...) }

// Sentinels are the three sentinels.
func (s *RedisSentinel) Sentinels() []*Redis { return append([]*Redis(nil), s.sentinels...) }

// Master asks the sentinels which node is the master now.
func (s *RedisSentinel) Master(ctx context.Context) (*Redis, error) {
	var problems []error
	for _, r := range s.sentinels {
		if r.PID() == 0 {
			continue
		}
		reply, err := r.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinelMaster)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if at, ok := reply.([]any); ok && len(at) == 2 {
			if n := byAddr(s.nodes, net.JoinHostPort(fmt.Sprint(at[0]), fmt.Sprint(at[1]))); n != nil {
				return n, nil
			}
		}
		problems = append(problems, fmt.Errorf("%s names %v as the master, which is none of ours", r.Addr(), reply))
	}
	return nil, fmt.Errorf("devservices: sentinel: no sentinel knows the master: %w", errors.Join(problems...))
}

// KillMaster kills the master and returns it, to be restarted later: it comes back as a replica.
func (s *RedisSentinel) KillMaster(ctx context.Context) (*Redis, error) {
	m, err := s.Master(ctx)
	if err != nil {
		return nil, err
	}
	err = m.Kill()
	return m, err
}

// AwaitMaster waits until the sentinels agree on a master other than not, and it takes writes.
func (s *RedisSentinel) AwaitMaster(ctx context.Context, not *Redis) (*Redis, error) {
	var found *Redis
	err := poll(ctx, "failover", func(ctx context.Context) error {
		m, err := s.Master(ctx)
		if err != nil {
			return err
		}
		if m == not {
			return fmt.Errorf("%s is still the master", m.Addr())
		}
		found = m
		return isMaster(ctx, m)
	})
	return found, err
}

// isMaster reports why a node is no master.
func isMaster(ctx context.Context, r *Redis) error {
	reply, err := r.Do(ctx, "ROLE")
	if err != nil {
		return err
	}
	if role, ok := reply.([]any); !ok || len(role) == 0 || role[0] != "master" {
		return fmt.Errorf("%s is no master: %v", r.Addr(), reply)
	}
	return nil
}

// Close ends all six servers and removes their data.
func (s *RedisSentinel) Close() error { return errors.Join(closeAll(s.sentinels), closeAll(s.nodes)) }
