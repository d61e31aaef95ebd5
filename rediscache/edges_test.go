package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// TestOddTTLs: for ever and a day, and less than Redis can count.
func TestOddTTLs(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	long := rediscache.Of[int](c, "long", rediscache.TTL(math.MaxInt64))
	if err := long.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := long.Get(ctx, "k"); err != nil {
		t.Errorf("Get after Set with TTL(MaxInt64) = %v, undecodable %d", err, long.Stats().Undecodable)
	}
	short := rediscache.Of[int](c, "short", rediscache.TTL(500*time.Microsecond), rediscache.Jitter(0), rediscache.StaleFor(time.Hour))
	if err := short.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	pause(t, 50*time.Millisecond)
	if v, err := short.Get(ctx, "k"); err == nil {
		t.Errorf("Get 50 ms after Set with TTL(500µs) = %d, want ErrNotFound", v)
	}
}

// TestTooLargeUncompressed: what could not be read again is not stored.
func TestTooLargeUncompressed(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	c := open(t, rediscache.Config{URL: url, Required: true, MaxValueBytes: 64 << 10, MaxReplyBytes: 64 << 10})
	n := rediscache.Of[string](c, "n")
	if err := n.Set(ctx, "k", strings.Repeat("x", 1<<20)); err == nil {
		if _, err := n.Get(ctx, "k"); err != nil {
			t.Errorf("Set = nil, Get after it = %v (undecodable %d)", err, n.Stats().Undecodable)
		}
	}
}

// TestGetManyRoundTrips: all versions of a page are asked for at once.
func TestGetManyRoundTrips(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	keys := make([]string, 100)
	a := rediscache.Of[int](open(t, rediscache.Config{URL: url}), "n")
	for i := range keys {
		keys[i] = fmt.Sprint(i)
		if err := a.Set(ctx, keys[i], i, rediscache.Tags("user "+keys[i])); err != nil {
			t.Fatal(err)
		}
	}
	var calls atomic.Int64
	c := open(t, rediscache.Config{URL: url}, rediscache.WithHook(holdHook{hold: func([]redis.Cmder) error { calls.Add(1); return nil }}))
	n := rediscache.Of[int](c, "n")
	eventually(t, "coherent", func() bool { return c.Stats().Coherent })
	before := calls.Load()
	if got, err := n.GetMany(ctx, keys); err != nil || len(got) != 100 {
		t.Fatal(len(got), err)
	}
	if trips := calls.Load() - before; trips > 10 {
		t.Errorf("GetMany of 100 keys took %d round trips", trips)
	}
}

// TestErrorOfManyKeys: one error, however many keys.
func TestErrorOfManyKeys(t *testing.T) {
	t.Parallel()
	s, ctx := rediscachetest.StartServer(t), t.Context()
	c := open(t, rediscache.Config{URL: s.URL(), Required: true, Timeout: time.Second})
	n := rediscache.Of[int](c, "n")
	_ = s.Kill()
	eventually(t, "noticed", func() bool { _ = c.Ping(ctx); return c.State() == rediscache.StateDown })
	keys := make([]string, 5000)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
	}
	if err := n.Del(ctx, keys...); len(err.Error()) > 2000 {
		t.Errorf("the error of a Del of 5000 keys has %d bytes", len(err.Error()))
	}
}

// TestTooManyTags: a load whose value cannot be stored is counted as an error.
func TestTooManyTags(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	tags := make([]string, 65)
	for i := range tags {
		tags[i] = fmt.Sprint(i)
	}
	n := rediscache.Of[int](c, "n", rediscache.Tags(tags...))
	loads := 0
	for range 3 {
		if v, err := n.Load(ctx, "k", func(context.Context, string) (int, error) { loads++; return 1, nil }); err != nil || v != 1 {
			t.Errorf("Load = %d, %v, want what the loader said", v, err)
		}
	}
	if st := n.Stats(); loads > 1 && st.Errors == 0 {
		t.Errorf("%d loads, nothing stored, and Stats say %d errors, %d not written", loads, st.Errors, st.NotWritten)
	}
}

// TestGetDecodesWholeOrNothing: what does not fit leaves the caller's value as
// it was.
func TestGetDecodesWholeOrNothing(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	if err := c.Set(ctx, "k", map[string]any{"A": 1, "B": "x"}, 0); err != nil {
		t.Fatal(err)
	}
	var v struct{ A, B int }
	if err := c.Get(ctx, "k", &v); !errors.Is(err, rediscache.ErrNotFound) || v.A != 0 {
		t.Errorf("Get = %v with %+v", err, v)
	}
}

// TestGuardSignedLengths: go-redis reads a length with a plus.
func TestGuardSignedLengths(t *testing.T) {
	t.Parallel()
	for _, length := range []string{"$+5", "*+5", "$1-5", "%-+1"} {
		if err := rediscache.ScanReplies([]byte(length+"\r\n"), 100, 1024); err == nil {
			t.Errorf("%s is taken for a length", length)
		}
	}
	addr := evil(t, func(command string) string {
		if strings.HasPrefix(command, "get") {
			return "$+5000\r\n" + strings.Repeat("1", 5000) + "\r\n"
		}
		return polite(command)
	})
	c := open(t, rediscache.Config{URL: "redis://" + addr, MaxReplyBytes: 1024, MaxValueBytes: 1024})
	if s, err := c.Redis().Get(t.Context(), "k").Result(); err == nil {
		t.Errorf("a reply of %d bytes passed a limit of 1024", len(s))
	}
	addr = evil(t, func(command string) string {
		if strings.HasPrefix(command, "keys") {
			return "*+9000\r\n" + strings.Repeat("$1\r\nx\r\n", 9000)
		}
		return polite(command)
	})
	c = open(t, rediscache.Config{URL: "redis://" + addr, MaxReplyBytes: 1024, MaxValueBytes: 1024})
	if s, err := c.Redis().Keys(t.Context(), "k").Result(); err == nil {
		t.Errorf("a reply of %d elements passed a limit of 1024/16", len(s))
	}
}
