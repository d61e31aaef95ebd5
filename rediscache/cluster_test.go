package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	alone(t)
	cluster, ctx := rediscachetest.StartCluster(t), t.Context()
	cfg := rediscache.Config{Addrs: cluster.Addrs()[:2], Required: true}
	c := open(t, cfg)
	other := open(t, cfg)
	n := rediscache.Of[int](c, "n", rediscache.Near(10_000))
	no := rediscache.Of[int](other, "n", rediscache.Near(10_000))
	items := map[string]int{}
	keys := []string{}
	for i := range 300 {
		items[fmt.Sprint(i)] = i
		keys = append(keys, fmt.Sprint(i))
	}

	if err := n.SetMany(ctx, items, rediscache.Tags("red")); err != nil {
		t.Fatal(err)
	}
	if got, err := no.GetMany(ctx, keys); err != nil || len(got) != 300 || got["299"] != 299 {
		t.Errorf("GetMany = %d values and %v, want 300", len(got), err)
	}
	warm(t, no, "7")
	if err := n.Set(ctx, "7", 70); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another process sees a Set in a cluster", func() bool { v, _ := no.Get(ctx, "7"); return v == 70 })
	if err := n.DelTags(ctx, "red"); err != nil {
		t.Fatal(err)
	}
	if got, err := n.GetMany(ctx, keys); err != nil || len(got) != 1 {
		t.Errorf("GetMany after DelTags = %v and %v, want the one value without the tag", got, err)
	}
	eventually(t, "DelTags reaches every node's values in the other process", func() bool { got, err := no.GetMany(ctx, keys); return err == nil && len(got) == 1 })

	if err := n.SetMany(ctx, items); err != nil {
		t.Fatal(err)
	}
	deleted, err := c.ClearPattern(ctx, "n:*")
	if deleted != 300 || err != nil {
		t.Errorf("ClearPattern = %d and %v, want the 300 of all nodes", deleted, err)
	}
	eventually(t, "ClearPattern reaches the near caches", func() bool { got, err := no.GetMany(ctx, keys); return err == nil && len(got) == 0 })

	for _, key := range keys {
		if err := c.Set(ctx, key, 1, 0); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := c.Del(ctx, keys...); n != 300 || err != nil {
		t.Errorf("Del across slots = %d and %v, want 300", n, err)
	}
	if s := c.Stats(); !s.Coherent || s.State != rediscache.StateUp || !s.Memory.Known {
		t.Errorf("Stats: coherent %v, %v, memory %+v", s.Coherent, s.State, s.Memory)
	}

	// go-redis clears each master on a goroutine of its own.
	run := func(progress func(int64)) (panicked any, err error) {
		defer func() { panicked = recover() }()
		_, err = c.ClearPattern(ctx, "n:*", rediscache.ClearProgress(progress))
		return nil, err
	}
	if v, err := run(func(int64) { panic("progress") }); v != "progress" {
		t.Errorf("ClearPattern = %v, panic %v; want the panic of its progress", err, v)
	}
	if v, err := run(func(int64) { runtime.Goexit() }); err == nil || v != nil {
		t.Errorf("ClearPattern = %v, panic %v; want an error, as its progress ended the goroutine", err, v)
	}
}

func TestClusterMasterKilled(t *testing.T) {
	t.Parallel()
	alone(t)
	cluster, ctx := rediscachetest.StartCluster(t), t.Context()
	c := open(t, rediscache.Config{Addrs: cluster.Addrs(), Required: true, Timeout: rediscache.DefaultTimeout})
	const key = "7"
	slot := slotOf(t, c, "user:"+key)
	beside := startPeer(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()}))
	var cut, healed time.Duration
	var ready time.Time
	o := under(t, c, func() {
		pause(t, 200*time.Millisecond)
		old, err := cluster.KillMaster(ctx, slot)
		if err != nil {
			t.Error(err)
			return
		}
		killed := time.Now()
		if _, err := cluster.AwaitMaster(ctx, slot, old); err != nil {
			t.Error(err)
		}
		cut = time.Since(killed)
		ready = time.Now()
		users := rediscache.Of[user](c, "user")
		eventually(t, "back", func() bool { return users.Set(ctx, key, user{ID: 1}) == nil })
		healed = time.Since(ready)
		pause(t, 300*time.Millisecond)
	})
	t.Logf("%v; the cluster was back after %v, we %v later", o, cut, healed)
	t.Log(beside.since(ready))
	if healed > time.Second {
		t.Errorf("back %v after the cluster, want 1 s at most", healed)
	}
	if n := o.loadErrors.Load(); n > 0 {
		t.Errorf("%d loads failed, want 0; the first: %v", n, *o.firstErr.Load())
	}
	o.bounded(t)
}

// A slot moves from one master to another while it is read and written.
func TestClusterSlotMigrated(t *testing.T) {
	t.Parallel()
	alone(t)
	cluster, ctx := rediscachetest.StartCluster(t), t.Context()
	c := open(t, rediscache.Config{Addrs: cluster.Addrs(), Required: true})
	users := rediscache.Of[user](c, "user")
	slot := slotOf(t, c, "user:7")
	beside := startPeer(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()}))
	o := under(t, c, func() {
		from, err := cluster.Master(ctx, slot)
		if err != nil {
			t.Error(err)
			return
		}
		var to *devservices.Redis
		for _, other := range []int{0, 8_000, 16_000} {
			if node, err := cluster.Master(ctx, other); err == nil && node.Addr() != from.Addr() {
				to = node
			}
		}
		migrate(t, slot, from, to)
		pause(t, 300*time.Millisecond)
		if err := users.Set(ctx, "7", user{ID: 77}); err != nil {
			t.Errorf("Set in the moved slot: %v", err)
		}
		if u, err := users.Get(ctx, "7"); err != nil || u.ID != 77 {
			t.Errorf("Get in the moved slot = %v and %v", u, err)
		}
		if n, err := to.Do(ctx, "CLUSTER", "COUNTKEYSINSLOT", fmt.Sprint(slot)); err != nil || n.(int64) == 0 {
			t.Errorf("the slot holds %v keys at its new master (%v)", n, err)
		}
	})
	t.Log(o)
	t.Log(beside.since(time.Now()))
	if n := o.failed.Load(); n > 0 {
		t.Errorf("%d calls failed during the migration, want 0", n)
	}
}

// migrate moves a slot the way redis-cli does, slowly enough to be met half way.
func migrate(t *testing.T, slot int, from, to *devservices.Redis) {
	t.Helper()
	ctx := t.Context()
	do := func(r *devservices.Redis, args ...string) any {
		reply, err := r.Do(ctx, args...)
		if err != nil {
			t.Errorf("%v: %v", args, err)
		}
		return reply
	}
	id := func(r *devservices.Redis) string { s, _ := do(r, "CLUSTER", "MYID").(string); return s }
	n := fmt.Sprint(slot)
	do(to, "CLUSTER", "SETSLOT", n, "IMPORTING", id(from))
	do(from, "CLUSTER", "SETSLOT", n, "MIGRATING", id(to))
	pause(t, 100*time.Millisecond)
	host, port, _ := net.SplitHostPort(to.Addr())
	for {
		keys, _ := do(from, "CLUSTER", "GETKEYSINSLOT", n, "10").([]any)
		if len(keys) == 0 {
			break
		}
		for _, key := range keys {
			do(from, "MIGRATE", host, port, key.(string), "0", "1000", "REPLACE")
		}
	}
	pause(t, 100*time.Millisecond)
	do(to, "CLUSTER", "SETSLOT", n, "NODE", id(to))
	do(from, "CLUSTER", "SETSLOT", n, "NODE", id(to))
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	alone(t)
	set, ctx := rediscachetest.StartSentinel(t), t.Context()
	c := open(t, rediscache.Config{Addrs: set.Addrs(), MasterName: set.MasterName(), Required: true, Timeout: rediscache.DefaultTimeout})
	near := rediscache.Of[int](c, "near", rediscache.Near(100))
	if err := near.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	warm(t, near, "k")
	beside := startPeer(t, redis.NewFailoverClient(&redis.FailoverOptions{MasterName: set.MasterName(), SentinelAddrs: set.Addrs()}))
	var cut, healed time.Duration
	var ready time.Time
	o := under(t, c, func() {
		pause(t, 200*time.Millisecond)
		old, err := set.KillMaster(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		killed := time.Now()
		if _, err := set.AwaitMaster(ctx, old); err != nil {
			t.Error(err)
		}
		cut = time.Since(killed)
		ready = time.Now()
		eventually(t, "back", func() bool { return near.Set(ctx, "k", 2) == nil })
		healed = time.Since(ready)
		pause(t, 300*time.Millisecond)
	})
	t.Logf("%v; the sentinels had a master after %v, we %v later", o, cut, healed)
	t.Log(beside.since(ready))
	if healed > time.Second {
		t.Errorf("back %v after the sentinels, want 1 s at most", healed)
	}
	if n := o.loadErrors.Load(); n > 0 {
		t.Errorf("%d loads failed, want 0; the first: %v", n, *o.firstErr.Load())
	}
	o.bounded(t)
	if v, err := near.Get(ctx, "k"); err != nil || v != 2 {
		t.Errorf("Get after the failover = %d and %v, want what was written after it", v, err)
	}
	eventually(t, "coherent with the new master", func() bool { return c.Stats().Coherent })
	warm(t, near, "k")
}

// All Sentinels are gone and the master lives: who has connections to it goes on.
func TestSentinelsGone(t *testing.T) {
	t.Parallel()
	alone(t)
	set, ctx := rediscachetest.StartSentinel(t), t.Context()
	c := open(t, rediscache.Config{Addrs: set.Addrs(), MasterName: set.MasterName(), Required: true})
	n := rediscache.Of[int](c, "n")
	if err := n.Set(ctx, "k", 0); err != nil {
		t.Fatal(err)
	}
	for _, s := range set.Sentinels() {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	failed, slowest := 0, time.Duration(0)
	for i := range 200 {
		began := time.Now()
		err := n.Set(ctx, "k", i)
		if v, e := n.Get(ctx, "k"); err == nil && (e != nil || v != i) {
			t.Errorf("Get = %d and %v, want %d", v, e, i)
		}
		slowest = max(slowest, time.Since(began))
		if err != nil {
			failed++
			t.Log(err)
		}
	}
	for _, s := range set.Nodes() {
		_, _ = s.Do(ctx, "CLIENT", "KILL", "TYPE", "normal")
	}
	_, cut := n.Get(ctx, "k")
	t.Logf("%d of 200 pairs of calls failed, slowest %v; with its connections cut: %v", failed, slowest, cut)
	for _, s := range set.Sentinels() {
		if err := s.Restart(ctx); err != nil {
			t.Fatal(err)
		}
	}
	back := time.Now()
	eventually(t, "back", func() bool { _, err := n.Get(ctx, "k"); return err == nil })
	t.Logf("back %v after the sentinels", time.Since(back))
	if failed > 0 {
		t.Errorf("%d of 200 calls on connections that stood failed, want 0", failed)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, err := devservices.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	good, _ := ca.Server()
	client, err := ca.Client("app")
	if err != nil {
		t.Fatal(err)
	}
	s := rediscachetest.StartServer(t, devservices.WithRedisTLS(good), devservices.WithRedisClientCertificates(), devservices.WithPassword("canary"))
	host, ok := strings.CutPrefix(s.URL(), "rediss://")
	if !ok {
		t.Fatalf("URL %s", s.URL())
	}
	cfg := rediscache.Config{URL: "rediss://" + host, TLSCAFile: ca.File(), TLSCertFile: client.CertFile, TLSKeyFile: client.KeyFile, Required: true}
	c := open(t, cfg)
	n := rediscache.Of[int](c, "n", rediscache.Near(10))
	if err := n.Set(t.Context(), "k", 1); err != nil {
		t.Fatal(err)
	}
	warm(t, n, "k")

	// Killed and back: idle TLS connections are dead and must not be handed out.
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "noticed", func() bool { return c.Redis().Ping(t.Context()).Err() != nil && c.State() == rediscache.StateDown })
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "back", func() bool { return c.State() == rediscache.StateUp })
	for range 100 {
		if err := c.Redis().Incr(t.Context(), "i").Err(); err != nil {
			t.Fatalf("a call after the return: %v", err)
		}
	}

	for name, mend := range map[string]func(*rediscache.Config){
		"unknown authority":     func(c *rediscache.Config) { c.TLSCAFile = "" },
		"wrong name":            func(c *rediscache.Config) { c.TLSServerName = "other.invalid" },
		"no client certificate": func(c *rediscache.Config) { c.TLSCertFile, c.TLSKeyFile = "", "" },
		"no tls":                func(c *rediscache.Config) { *c = rediscache.Config{URL: "redis://" + host, Required: true} },
	} {
		bad := cfg
		mend(&bad)
		cache, err := rediscache.New(bad)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err = cache.Start(ctx)
		if !errors.Is(err, rediscache.ErrUnavailable) || strings.Contains(fmt.Sprint(err), "canary") {
			t.Errorf("%s: Start = %v, want ErrUnavailable", name, err)
		}
		cancel()
		_ = cache.Stop(context.Background())
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t, devservices.WithUnixSocket())
	c := open(t, rediscache.Config{URL: "unix://" + s.Socket() + "?db=3", Required: true})
	n := rediscache.Of[int](c, "n", rediscache.Near(10))
	if err := n.Set(t.Context(), "k", 1); err != nil {
		t.Fatal(err)
	}
	warm(t, n, "k")
	if got, err := s.Do(t.Context(), "INFO", "keyspace"); err != nil || !strings.Contains(got.(string), "db3:") {
		t.Errorf("keyspace %v and %v, want database 3", got, err)
	}
}

// slotOf returns the slot of a key.
func slotOf(t *testing.T, c *rediscache.Cache, key string) int {
	t.Helper()
	n, err := c.Redis().ClusterKeySlot(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}
