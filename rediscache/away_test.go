package rediscache_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// TestShortTimeoutOpensGate: a Timeout below that of a probe.
func TestShortTimeoutOpensGate(t *testing.T) {
	t.Parallel()
	s, ctx := rediscachetest.StartServer(t), t.Context()
	c := open(t, rediscache.Config{URL: s.URL(), Required: true, Timeout: 40 * time.Millisecond})
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Resume() }()
	for range 50 {
		if _ = c.Redis().Get(ctx, "k").Err(); c.State() == rediscache.StateDown {
			break
		}
	}
	if st := c.State(); st != rediscache.StateDown {
		t.Errorf("after 50 calls to a hanging server: %v, want down", st)
	}
}

// TestDistantServerComesBack: a handshake and a PING may take several round
// trips of 80 ms.
func TestDistantServerComesBack(t *testing.T) {
	t.Parallel()
	s, ctx := rediscachetest.StartServer(t), t.Context()
	proxy := faultproxy.Start(t, s.Addr())
	proxy.Latency(80*time.Millisecond, 0)
	c := open(t, rediscache.Config{URL: "redis://" + proxy.Addr(), Required: true, Timeout: 2 * time.Second})
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "noticed", func() bool { _ = c.Ping(ctx); return c.State() == rediscache.StateDown })
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 6*time.Second; time.Sleep(20 * time.Millisecond) {
		if c.State() == rediscache.StateUp {
			return
		}
	}
	t.Error("6 s after the server is back the gate is still open")
}

// TestObserverCallsCache: an observer of the state may use the cache.
func TestObserverCallsCache(t *testing.T) {
	t.Parallel()
	s, ctx := rediscachetest.StartServer(t), t.Context()
	var c atomic.Pointer[rediscache.Cache]
	returned := make(chan struct{}, 10)
	cc := open(t, rediscache.Config{URL: s.URL(), Required: true, Timeout: time.Second}, rediscache.WithStateObserver(func(to rediscache.State, _ error) {
		if to == rediscache.StateUp && c.Load() != nil {
			_ = s.Kill() // it goes away again just now
			_, _ = c.Load().Del(context.Background(), "k")
			_, _ = c.Load().Del(context.Background(), "k")
			returned <- struct{}{}
		}
	}))
	c.Store(cc)
	_ = s.Kill()
	eventually(t, "down", func() bool { _ = cc.Ping(ctx); return cc.State() == rediscache.StateDown })
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case <-returned:
	case <-time.After(5 * time.Second):
		t.Error("the observer that called the cache hangs")
	}
}

// TestBlockingCommandHeedsContext: a command that waits at the server has its
// caller's limit only.
func TestBlockingCommandHeedsContext(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := c.Redis().BLPop(ctx, 3*time.Second, "list").Err()
	if took := time.Since(began); took > time.Second {
		t.Errorf("BLPOP under a context of 200 ms took %v (%v)", took, err)
	}
}

// TestCanceledIsNoAnswer: that a caller gave up says nothing about Redis.
func TestCanceledIsNoAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	c, err := rediscache.New(rediscache.Config{URL: "redis://" + addr})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop(context.Background())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = c.Redis().Get(ctx, "k").Err()
	if s := c.State(); s != rediscache.StateNew {
		t.Errorf("after a call that its caller cancelled (%v): %v, want new", err, s)
	}
}

// TestCredentialsFail: no password is as no Redis: Load still loads.
func TestCredentialsFail(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	c := open(t, rediscache.Config{URL: url}, rediscache.WithCredentials(func(context.Context) (string, string, error) {
		return "", "", errors.New("vault is sealed")
	}))
	n := rediscache.Of[int](c, "n")
	for range 3 {
		if _, err := n.Get(ctx, "k"); !errors.Is(err, rediscache.ErrUnavailable) {
			t.Errorf("Get = %v, want ErrUnavailable", err)
		}
		if v, err := n.Load(ctx, "k", func(context.Context, string) (int, error) { return 7, nil }); err != nil || v != 7 {
			t.Errorf("Load = %d, %v, want 7", v, err)
		}
	}
	if s := c.State(); s != rediscache.StateDown {
		t.Errorf("%v, want down", s)
	}
}

// TestSetNXGetIsNotRepeated: the second time it would say that somebody else
// holds the lock.
func TestSetNXGetIsNotRepeated(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	proxy := faultproxy.Start(t, s.Addr(), faultproxy.Redis())
	var sent, cut atomic.Int64
	proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if m.Dir == faultproxy.ToServer && m.Commands("set") {
			sent.Add(1)
		}
		if m.Replies("set") && cut.Add(1) == 1 {
			return faultproxy.Cut // it ran, and nobody hears of it
		}
		return faultproxy.Pass
	})
	c := open(t, rediscache.Config{URL: "redis://" + proxy.Addr(), Required: true})
	was, err := c.Redis().SetArgs(t.Context(), "lock", "me", redis.SetArgs{Mode: "NX", Get: true}).Result()
	if sent.Load() != 1 || err == nil {
		t.Errorf("SET NX GET = %q, %v, after it was sent %d times; want an error after one", was, err, sent.Load())
	}
}
