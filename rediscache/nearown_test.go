package rediscache_test

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// TestClearPatternClearsOwnNear: at once, before the message comes back from
// Redis.
func TestClearPatternClearsOwnNear(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[int](c, "n", rediscache.Near(1000))
	eventually(t, "coherent", func() bool { return c.Stats().Coherent })
	stale := 0
	for range 300 {
		if err := n.Set(ctx, "k", 1); err != nil {
			t.Fatal(err)
		}
		warm(t, n, "k")
		if _, err := c.ClearPattern(ctx, "n:*"); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Get(ctx, "k"); err == nil {
			stale++
		}
	}
	if stale > 0 {
		t.Errorf("%d of 300 Gets after ClearPattern returned what it deleted", stale)
	}
}

// TestTwoViews: two handles of a namespace in one process see one another's
// writes.
func TestTwoViews(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n1, n2 := rediscache.Of[int](c, "n", rediscache.Near(10)), rediscache.Of[int](c, "n", rediscache.Near(10))
	eventually(t, "coherent", func() bool { return c.Stats().Coherent })
	stale := 0
	for i := range 300 {
		if err := n1.Set(ctx, "k", i); err != nil {
			t.Fatal(err)
		}
		if v, err := n2.Get(ctx, "k"); err == nil && v != i {
			stale++
		}
		warm(t, n2, "k")
	}
	if stale > 0 {
		t.Errorf("%d of 300 Gets by another view, after a Set of this process returned, were stale", stale)
	}
}

// TestStreamStopsMidMessage: what is cached is dropped within the bound, though
// the stream said half of a message.
func TestStreamStopsMidMessage(t *testing.T) {
	s, ctx := rediscachetest.StartServer(t), t.Context()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx2, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { l.Close(); cancel(); wg.Wait() })
	var cut atomic.Bool
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", s.Addr())
			if err != nil {
				in.Close()
				continue
			}
			context.AfterFunc(ctx2, func() { in.Close(); out.Close() })
			wg.Go(func() { io.Copy(out, in); out.Close() })
			wg.Go(func() {
				defer in.Close()
				b := make([]byte, 32<<10)
				mute := false
				for {
					n, err := out.Read(b)
					if err != nil {
						return
					}
					if mute {
						continue
					}
					if cut.Load() && b[0] == '>' {
						mute, n = true, 5
					}
					in.Write(b[:n])
				}
			})
		}
	})
	a := open(t, rediscache.Config{URL: "redis://" + l.Addr().String(), Required: true})
	b := open(t, rediscache.Config{URL: s.URL(), Required: true})
	na, nb := rediscache.Of[int](a, "n", rediscache.Near(10)), rediscache.Of[int](b, "n")
	eventually(t, "coherent", func() bool { return a.Stats().Coherent })
	if err := nb.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	warm(t, na, "k")
	pause(t, 50*time.Millisecond)
	warm(t, na, "k")
	cut.Store(true)
	if err := nb.Set(ctx, "k", 2); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for {
		if v, err := na.Get(ctx, "k"); err != nil || v == 2 || time.Since(began) > 5*time.Second {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if took := time.Since(began); took > 1300*time.Millisecond {
		t.Errorf("stale for %v, the bound is a second", took)
	}
}
