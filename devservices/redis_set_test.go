package devservices_test

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/devservices"
)

func needsSeconds(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("six servers; not with -short")
	}
}

// role is what a server says it is, empty while it changes: then it cuts its connections.
func role(t *testing.T, r *devservices.Redis) any {
	t.Helper()
	reply, err := r.Do(t.Context(), "ROLE")
	if list, ok := reply.([]any); err == nil && ok {
		return list[0]
	}
	return ""
}

func startSentinel(t *testing.T, opts ...devservices.RedisOption) *devservices.RedisSentinel {
	t.Helper()
	needsSeconds(t)
	begin := time.Now()
	s, err := devservices.StartRedisSentinel(t.Context(), opts...)
	if err != nil {
		t.Fatalf("StartRedisSentinel: got error %v, want none", err)
	}
	t.Logf("sentinel: usable after %v", time.Since(begin))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: got error %v, want none", err)
		}
	})
	return s
}

func startCluster(t *testing.T, opts ...devservices.RedisOption) *devservices.RedisCluster {
	t.Helper()
	needsSeconds(t)
	begin := time.Now()
	c, err := devservices.StartRedisCluster(t.Context(), opts...)
	if err != nil {
		t.Fatalf("StartRedisCluster: got error %v, want none", err)
	}
	t.Logf("cluster: usable after %v", time.Since(begin))
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: got error %v, want none", err)
		}
	})
	return c
}

func TestSentinelFailsOverAndTakesTheOldMasterBack(t *testing.T) {
	t.Parallel()
	s := startSentinel(t, devservices.WithPassword("pw"))
	if got, want := len(s.Addrs()), 3; got != want {
		t.Errorf("sentinels: got %d, want %d", got, want)
	}
	first, err := s.Master(t.Context())
	if err != nil || first != s.Nodes()[0] {
		t.Fatalf("Master: got %v, %v, want the first node", first, err)
	}
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.MasterName(), SentinelAddrs: s.Addrs(), Password: "pw"})
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatalf("SET through sentinels: got error %v, want none", err)
	}
	if n, err := c.Wait(t.Context(), 2, 10*time.Second).Result(); err != nil || n != 2 {
		t.Fatalf("WAIT 2: got %d, %v, want 2 replicas", n, err)
	}
	begin := time.Now()
	killed, err := s.KillMaster(t.Context())
	if err != nil || killed != first {
		t.Fatalf("KillMaster: got %v, %v, want the first node", killed, err)
	}
	second, err := s.AwaitMaster(t.Context(), first)
	if err != nil {
		t.Fatalf("AwaitMaster: got error %v, want none", err)
	}
	t.Logf("sentinel: another master %v after the kill", time.Since(begin))
	if got := do(t, second, "GET", "k"); got != "v" {
		t.Errorf("GET on the new master: got %v, want v", got)
	}
	if err := first.Restart(t.Context()); err != nil {
		t.Fatalf("Restart of the old master: got error %v, want none", err)
	}
	eventually(t, "the old master is a replica", func() bool { return role(t, first) == "slave" })
}

func TestClusterServesAllSlotsAndFailsOver(t *testing.T) {
	t.Parallel()
	c := startCluster(t, devservices.WithPassword("pw"))
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Password: "pw", ClusterStateReloadInterval: 250 * time.Millisecond})
	t.Cleanup(func() { _ = client.Close() })
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		if err := client.Set(t.Context(), key, "v", 0).Err(); err != nil {
			t.Fatalf("SET %s: got error %v, want none", key, err)
		}
	}
	var masters []*devservices.Redis
	for _, slot := range []int{0, devservices.Slots / 2, devservices.Slots - 1} {
		m, err := c.Master(t.Context(), slot)
		if err != nil {
			t.Fatalf("Master(%d): got error %v, want none", slot, err)
		}
		masters = append(masters, m)
	}
	if !slices.Equal(masters, c.Nodes()[:3]) {
		t.Error("masters of the first, a middle and the last slot: got others than the first three nodes")
	}
	begin := time.Now()
	killed, err := c.KillMaster(t.Context(), 0)
	if err != nil {
		t.Fatalf("KillMaster: got error %v, want none", err)
	}
	next, err := c.AwaitMaster(t.Context(), 0, killed)
	if err != nil {
		t.Fatalf("AwaitMaster: got error %v, want none", err)
	}
	t.Logf("cluster: another master %v after the kill", time.Since(begin))
	if want := c.Nodes()[3]; next != want {
		t.Errorf("the new master: got %s, want the replica %s", next.Addr(), want.Addr())
	}
	if err := killed.Restart(t.Context()); err != nil {
		t.Fatalf("Restart: got error %v, want none", err)
	}
	eventually(t, "the old master is a replica", func() bool { return role(t, killed) == "slave" })
}
