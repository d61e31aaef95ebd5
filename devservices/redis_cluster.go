package devservices

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pedro-go/pedro/internal/ports"
)

// Slots is the number of hash slots in every Redis Cluster.
const Slots = 16384

// busOffset is where the cluster bus listens above a node's port before Redis 7, which can be told.
const busOffset = 10000

// clusterNodeTimeout is after how long a silent node is taken for dead, in milliseconds.
const clusterNodeTimeout = 1000

// RedisCluster is a Redis Cluster of three masters with one replica each. Its methods are safe for concurrent use.
type RedisCluster struct {
	nodes []*Redis
	ids   []string      // of the nodes, in the same order
	buses []*ports.Port // likewise
}

// StartRedisCluster starts three masters with a replica each and returns when all slots are served and all replicas
// follow: after about 2.1 s, of which Redis waits two by its own rule, so share a cluster among the tests of a package.
// A dead master is replaced about 2 s after its death.
func StartRedisCluster(ctx context.Context, opts ...RedisOption) (*RedisCluster, error) {
	o := newRedisOptions(opts)
	return freshStart(ctx, func(ctx context.Context) (*RedisCluster, error) {
		c := &RedisCluster{}
		if err := c.boot(ctx, o); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return c, nil
	})
}

func (c *RedisCluster) boot(ctx context.Context, o redisOptions) error {
	for range 6 {
		if err := c.addNode(o); err != nil {
			return err
		}
	}
	// The nodes are given the finished cluster, as if they had been in it before: no meeting, no redis-cli.
	for i, r := range c.nodes {
		if err := r.bed.writeFile(filepath.Join(r.dir, "nodes.conf"), c.nodesConf(i)); err != nil {
			return err
		}
		if err := r.boot(ctx, c.config(i)); err != nil {
			return err
		}
	}
	return poll(ctx, "cluster", c.settled)
}

func (c *RedisCluster) addNode(o redisOptions) error {
	r, err := newRedis("redis", o)
	if err != nil {
		return err
	}
	c.nodes = append(c.nodes, r)
	var bus *ports.Port
	if redisMajor(r.exe) >= 7 {
		bus, err = ports.Reserve()
	} else {
		r.port.Release()
		r.port, bus, err = ports.ReservePair(busOffset)
	}
	if err != nil {
		return fmt.Errorf("devservices: %w", err)
	}
	c.buses = append(c.buses, bus)
	id := make([]byte, 20)
	if _, err := rand.Read(id); err != nil {
		return fmt.Errorf("devservices: %w", err)
	}
	c.ids = append(c.ids, hex.EncodeToString(id))
	return nil
}

func (c *RedisCluster) config(i int) []string {
	lines := []string{
		"cluster-enabled yes",
		"cluster-config-file nodes.conf",
		"cluster-node-timeout " + strconv.Itoa(clusterNodeTimeout),
		"cluster-replica-validity-factor 0", // a replica may always take over
	}
	if redisMajor(c.nodes[i].exe) >= 7 {
		lines = append(lines, "cluster-port "+strconv.Itoa(c.buses[i].Number()))
	}
	if c.nodes[i].opts.tls != nil {
		lines = append(lines, "tls-cluster yes")
	}
	return lines
}

// nodesConf is the cluster as node i knows it. Nodes 0 to 2 are masters, node n+3 is the replica of node n.
func (c *RedisCluster) nodesConf(i int) string {
	var b strings.Builder
	for j, r := range c.nodes {
		flags := "master"
		master, slots := "-", ""
		if j < 3 {
			slots = fmt.Sprintf(" %d-%d", j*Slots/3, (j+1)*Slots/3-1)
		} else {
			flags, master = "slave", c.ids[j-3]
		}
		if j == i {
			flags = "myself," + flags
		}
		fmt.Fprintf(&b, "%s %s@%d %s %s 0 0 %d connected%s\n", c.ids[j], r.Addr(), c.buses[j].Number(), flags, master, j%3+1, slots)
	}
	b.WriteString("vars currentEpoch 3 lastVoteEpoch 0\n")
	return b.String()
}

// settled reports what is still missing.
func (c *RedisCluster) settled(ctx context.Context) error {
	for i, r := range c.nodes {
		reply, err := r.Do(ctx, "CLUSTER", "INFO")
		if err != nil {
			return err
		}
		if text, ok := reply.(string); !ok || !strings.Contains(text, "cluster_state:ok") || !strings.Contains(text, "cluster_known_nodes:6") {
			return fmt.Errorf("node %s does not see the whole cluster yet", r.Addr())
		}
		if i < 3 {
			continue
		}
		if err := follows(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// Addrs are the addresses of all nodes.
func (c *RedisCluster) Addrs() []string { return addrs(c.nodes) }

// Nodes are all six nodes. At the start the first three are masters, and each of the others is the replica of the one
// three places before.
func (c *RedisCluster) Nodes() []*Redis { return append([]*Redis(nil), c.nodes...) }

// Master asks the living nodes which of them serves a slot.
func (c *RedisCluster) Master(ctx context.Context, slot int) (*Redis, error) {
	var problems []error
	for _, r := range c.nodes {
		if r.PID() == 0 {
			continue
		}
		reply, err := r.Do(ctx, "CLUSTER", "NODES")
		if err != nil {
			problems = append(problems, err)
			continue
		}
		text, _ := reply.(string)
		if m := c.byID(ownerOf(text, slot)); m != nil {
			return m, nil
		}
		problems = append(problems, fmt.Errorf("node %s knows no master of the slot", r.Addr()))
	}
	return nil, fmt.Errorf("devservices: cluster: slot %d: %w", slot, errors.Join(problems...))
}

// ownerOf finds the id of a slot's master in the reply to CLUSTER NODES:
//
//	<id> <ip:port@cport> <flags> <master> <ping> <pong> <epoch> <link> <slot or range> ...
func ownerOf(nodes string, slot int) string {
	for line := range strings.Lines(nodes) {
		f := strings.Fields(line)
		if len(f) < 9 || !strings.Contains(f[2], "master") {
			continue
		}
		for _, r := range f[8:] {
			from, to, isRange := strings.Cut(r, "-")
			if !isRange {
				to = from
			}
			low, err1 := strconv.Atoi(from)
			high, err2 := strconv.Atoi(to)
			if err1 == nil && err2 == nil && low <= slot && slot <= high {
				return f[0]
			}
		}
	}
	return ""
}

// KillMaster kills the master of a slot and returns it, to be restarted later: it comes back as a replica.
func (c *RedisCluster) KillMaster(ctx context.Context, slot int) (*Redis, error) {
	m, err := c.Master(ctx, slot)
	if err != nil {
		return nil, err
	}
	err = m.Kill()
	return m, err
}

// AwaitMaster waits until the living nodes agree that a slot is served by another node than not, which may be nil, and the cluster
// takes writes again.
func (c *RedisCluster) AwaitMaster(ctx context.Context, slot int, not *Redis) (*Redis, error) {
	var found *Redis
	err := poll(ctx, "failover", func(ctx context.Context) error {
		found = nil
		for _, r := range c.nodes {
			if r.PID() == 0 {
				continue
			}
			reply, err := r.Do(ctx, "CLUSTER", "NODES")
			if err != nil {
				return err
			}
			text, _ := reply.(string)
			m := c.byID(ownerOf(text, slot))
			switch {
			case m == nil || m == not:
				return fmt.Errorf("node %s knows no new master", r.Addr())
			case found != nil && found != m:
				return fmt.Errorf("node %s names another master than the others", r.Addr())
			}
			found = m
			reply, err = r.Do(ctx, "CLUSTER", "INFO")
			if err != nil {
				return err
			}
			if text, _ := reply.(string); !strings.Contains(text, "cluster_state:ok") {
				return fmt.Errorf("node %s holds the cluster for down", r.Addr())
			}
		}
		if found == nil {
			return errors.New("no node is running")
		}
		return isMaster(ctx, found)
	})
	return found, err
}

func (c *RedisCluster) byID(id string) *Redis {
	for i := range c.ids {
		if c.ids[i] == id {
			return c.nodes[i]
		}
	}
	return nil
}

// Close ends all six servers and removes their data.
func (c *RedisCluster) Close() error {
	err := closeAll(c.nodes)
	for _, bus := range c.buses {
		bus.Release()
	}
	return err
}
