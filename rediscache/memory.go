package rediscache

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// MemoryStats is what Redis says about its memory: the sums of all masters, and
// the policy of one.
type MemoryStats struct {
	Known     bool // Redis was asked and allowed it
	UsedBytes uint64
	MaxBytes  uint64 // maxmemory; 0: no limit
	Policy    string // maxmemory-policy
	Evicted   uint64 // keys evicted since the servers' start
	Advice    string // what to mend, empty if nothing
}

// memoryWatch keeps what was seen last.
type memoryWatch struct {
	mu   sync.Mutex
	seen MemoryStats
	said string
}

func (m *memoryWatch) last() MemoryStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen
}

// look asks every master. What a server does not tell, or forbids, stays
// unknown: the cache works without.
func (m *memoryWatch) look(ctx context.Context, c *Cache) {
	var mu sync.Mutex
	var sum MemoryStats
	ask := func(ctx context.Context, node *redis.Client) error {
		text, err := node.Info(ctx, "memory", "stats").Result()
		if err != nil {
			// Redis before 7 takes one section at a time.
			memory, _ := node.Info(ctx, "memory").Result()
			stats, err := node.Info(ctx, "stats").Result()
			if err != nil {
				return err
			}
			text = memory + "\r\n" + stats
		}
		mu.Lock()
		defer mu.Unlock()
		sum.add(text)
		return nil
	}
	var err error
	switch client := c.link.client.(type) {
	case *redis.ClusterClient:
		err = client.ForEachMaster(ctx, ask)
	case *redis.Client:
		err = ask(ctx, client)
	}
	if err != nil {
		return
	}
	sum.Known = true
	sum.Advice = sum.advice()
	m.mu.Lock()
	m.seen = sum
	news := sum.Advice != "" && sum.Advice != m.said
	m.said = sum.Advice
	m.mu.Unlock()
	if news {
		c.log.Warn("redis memory", "advice", sum.Advice, "used_bytes", sum.UsedBytes, "max_bytes", sum.MaxBytes, "policy", sum.Policy)
	}
}

func (s *MemoryStats) add(info string) {
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		n, _ := strconv.ParseUint(value, 10, 64)
		switch name {
		case "used_memory":
			s.UsedBytes += n
		case "maxmemory":
			s.MaxBytes += n
		case "maxmemory_policy":
			s.Policy = value
		case "evicted_keys":
			s.Evicted += n
		}
	}
}

// advice names the settings that hurt a cache.
func (s *MemoryStats) advice() string {
	full := s.MaxBytes > 0 && s.UsedBytes > s.MaxBytes/10*9
	switch {
	case full && s.Policy == "noeviction":
		return "memory is nearly full and maxmemory-policy is noeviction: writes will fail; use allkeys-lfu for a pure cache, volatile-lfu if sessions share the server"
	case full:
		return "memory is nearly full: Redis evicts, and sessions too if the policy begins with allkeys"
	default:
		return ""
	}
}
