package rediscache_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// evil is a server that answers every command with what reply returns. An empty
// answer is none.
func evil(t *testing.T, reply func(command string) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					var n int
					if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
						return
					}
					words := make([]string, n)
					for i := range words {
						var size int
						if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
							return
						}
						b := make([]byte, size+2)
						if _, err := io.ReadFull(r, b); err != nil {
							return
						}
						words[i] = strings.ToLower(string(b[:size]))
					}
					if _, err := io.WriteString(conn, reply(strings.Join(words, " "))); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// polite answers what a handshake asks.
func polite(command string) string {
	switch word, _, _ := strings.Cut(command, " "); word {
	case "hello":
		return "%1\r\n$5\r\nproto\r\n:3\r\n"
	case "ping":
		return "+PONG\r\n"
	case "get":
		return "$-1\r\n"
	default:
		return "+OK\r\n"
	}
}

// No announced length may make the process allocate it.
func TestRepliesAreBounded(t *testing.T) {
	t.Parallel()
	for name, bomb := range map[string]string{
		"string":   "$99999999999\r\n",
		"overflow": "$99999999999999999999999999\r\n",
		"array":    "*99999999999\r\n",
		"map":      "%99999999999\r\n",
		"push":     ">99999999999\r\n",
		"depth":    strings.Repeat("*1\r\n", 1_000_000),
		"line":     "+" + strings.Repeat("x", 10<<20) + "\r\n",
		"inside":   "*2\r\n$1\r\nx\r\n$99999999999\r\n",
		"attr":     "|1\r\n$1\r\nx\r\n$99999999999\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := evil(t, func(command string) string {
				if strings.HasPrefix(command, "get") || strings.HasPrefix(command, "mget") {
					return bomb
				}
				return polite(command)
			})
			c := open(t, rediscache.Config{URL: "redis://" + addr})
			var v int
			began := time.Now()
			err := c.Get(t.Context(), "k", &v)
			t.Logf("refused within %v: %v", time.Since(began), err)
			if err == nil || errors.Is(err, rediscache.ErrNotFound) {
				t.Errorf("Get = %v, want an error", err)
			}
		})
	}
}

// Error replies mean different things.
func TestErrorReplies(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]struct{ unavailable, opens bool }{
		"-LOADING Redis is loading the dataset in memory\r\n":                                   {true, true},
		"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n": {true, true},
		"-CLUSTERDOWN The cluster is down\r\n":                                                  {true, false},
		"-READONLY You can't write against a read only replica.\r\n":                            {false, false},
		"-OOM command not allowed when used memory > 'maxmemory'.\r\n":                          {false, false},
		"-NOPERM this user has no permissions\r\n":                                              {false, false},
		"-ERR something\r\n":                   {false, false},
		"-NOAUTH Authentication required.\r\n": {true, true},
		"-MOVED 1 127.0.0.1:1\r\n":             {false, false},
	} {
		t.Run(reply[1:5], func(t *testing.T) {
			t.Parallel()
			addr := evil(t, func(command string) string {
				if strings.HasPrefix(command, "set") || strings.HasPrefix(command, "unlink") || strings.HasPrefix(command, "ping") && want.opens {
					return reply
				}
				return polite(command)
			})
			c := open(t, rediscache.Config{URL: "redis://" + addr})
			for range 2 { // NOAUTH could be one connection's: it takes two
				err := c.Set(t.Context(), "k", 1, 0)
				if err == nil || errors.Is(err, rediscache.ErrUnavailable) != want.unavailable {
					t.Errorf("Set = %v, want ErrUnavailable %v", err, want.unavailable)
				}
			}
			if down := c.State() == rediscache.StateDown; down != want.opens {
				t.Errorf("state %v, want the gate open: %v", c.State(), want.opens)
			}
		})
	}
}

// A call is bounded by its own context, socket and queue included, and giving
// up does not cost connections.
func TestContextsBoundCalls(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	c := open(t, rediscache.Config{URL: s.URL(), Required: true, Timeout: 2 * time.Second})
	n := rediscache.Of[int](c, "n")
	if err := n.Set(t.Context(), "k", 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	defer s.Resume()
	var slowest atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			began := time.Now()
			if _, err := n.Get(ctx, "k"); err == nil {
				t.Error("a stopped server answered")
			}
			storeMax(&slowest, int64(time.Since(began)))
		})
	}
	wg.Wait()
	if got := time.Duration(slowest.Load()); got > 200*time.Millisecond*margin {
		t.Errorf("a call with 20 ms took %v", got)
	}
}

// The lent client is guarded as the cache is.
func TestLentClient(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	var seen atomic.Int64
	c := open(t, rediscache.Config{URL: s.URL(), Required: true}, rediscache.WithHook(countHook{&seen}))
	ctx := t.Context()
	script := redis.NewScript("return redis.call('INCR', KEYS[1])")
	if n, err := script.Run(ctx, c.Redis(), []string{"i"}).Int(); n != 1 || err != nil {
		t.Errorf("a script = %d and %v", n, err)
	}
	began := time.Now()
	if err := c.Redis().BLPop(ctx, time.Second, "list").Err(); !errors.Is(err, redis.Nil) || time.Since(began) < 900*time.Millisecond {
		t.Errorf("BLPOP = %v after %v, want it to wait its time", err, time.Since(began))
	}
	sub := c.Redis().Subscribe(ctx, "ch")
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		t.Errorf("Subscribe: %v", err)
	}
	if seen.Load() < 2 {
		t.Errorf("the hook saw %d commands", seen.Load())
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "noticed", func() bool { return errors.Is(c.Redis().Get(ctx, "k").Err(), rediscache.ErrUnavailable) })
	if err := script.Run(ctx, c.Redis(), []string{"i"}).Err(); !errors.Is(err, rediscache.ErrUnavailable) {
		t.Errorf("a script during the outage = %v, want ErrUnavailable", err)
	}
	pipe := c.Redis().TxPipeline()
	get := pipe.Get(ctx, "k")
	if _, err := pipe.Exec(ctx); !errors.Is(err, rediscache.ErrUnavailable) || !errors.Is(get.Err(), rediscache.ErrUnavailable) {
		t.Errorf("a transaction during the outage = %v and %v, want ErrUnavailable", err, get.Err())
	}
	began = time.Now()
	for range 1_000 {
		_ = c.Redis().Get(ctx, "k").Err()
	}
	if per := time.Since(began) / 1_000; per > 100*time.Microsecond*margin {
		t.Errorf("a refused call takes %v, want microseconds", per)
	}
}

type countHook struct{ n *atomic.Int64 }

func (h countHook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h countHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { h.n.Add(1); return next(ctx, cmd) }
}

func (h countHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// Where a server has no tracking, processes tell each other by pub/sub.
func TestCoherenceWithoutTracking(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	if _, err := s.Do(t.Context(), "ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-client|tracking"); err != nil {
		t.Fatal(err)
	}
	url := "redis://app:pw@" + s.Addr()
	ctx := t.Context()
	a := open(t, rediscache.Config{URL: url, Required: true})
	b := open(t, rediscache.Config{URL: url, Required: true})
	na, nb := rediscache.Of[int](a, "n", rediscache.Near(100), rediscache.Tags("red")), rediscache.Of[int](b, "n", rediscache.Near(100))
	eventually(t, "both listen", func() bool { return a.Stats().Coherent && b.Stats().Coherent })
	if err := na.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	warm(t, nb, "k")
	for i, write := range []func() error{
		func() error { return na.Set(ctx, "k", 2) },
		func() error { return na.Del(ctx, "k") },
		func() error { return na.Clear(ctx) },
		func() error { return na.DelTags(ctx, "red") },
		func() error { return na.SetMany(ctx, map[string]int{"k": 2}) },
		func() error { _, err := a.Del(ctx, "n:k"); return err },
		func() error { _, err := a.ClearPattern(ctx, "n:*"); return err },
	} {
		if err := na.Set(ctx, "k", 1); err != nil {
			t.Fatal(err)
		}
		eventually(t, "set seen", func() bool { v, err := nb.Get(ctx, "k"); return err == nil && v == 1 })
		warm(t, nb, "k")
		if err := write(); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprint("write ", i, " seen"), func() bool { v, err := nb.Get(ctx, "k"); return err != nil || v != 1 })
	}
}
