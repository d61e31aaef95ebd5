package rediscache_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// TestTagIsKept: Redis keeps the version of a tag for a day, and longer than any
// value that carries it, whichever process made that; without it they would be
// void. What is kept too short is then kept twice as long as the value.
func TestTagIsKept(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	ca, cb := open(t, rediscache.Config{URL: url, Required: true}), open(t, rediscache.Config{URL: url, Required: true})
	a, b := rediscache.Of[int](ca, "n", rediscache.Jitter(0)), rediscache.Of[int](cb, "n", rediscache.Jitter(0))
	const day, forever = 24 * time.Hour, -1
	set := func(n *rediscache.Namespace[int], ttl time.Duration) func() error {
		return func() error { return n.Set(ctx, "k", 1, rediscache.TTL(ttl), rediscache.Tags("red")) }
	}
	renew := func(n *rediscache.Namespace[int]) func() error {
		return func() error { return n.DelTags(ctx, "red") }
	}
	for _, step := range []struct {
		what string
		do   func() error
		kept time.Duration
	}{
		{"the first value, for a minute", set(a, time.Minute), day},
		{"one for two days", set(a, 2*day), 4 * day},
		{"one of another process, for a minute", set(b, time.Minute), 4 * day},
		{"renewed by the other process", renew(b), day},
		{"one for two days by the first, which had seen to it before", set(a, 2*day), 4 * day},
		{"renewed", renew(a), day},
		{"one for two days by who renewed it", set(a, 2*day), 4 * day},
		{"one for three days, for which that is enough", set(a, 3*day), 4 * day},
		{"one for five days", set(a, 5*day), 10 * day},
		{"one for ever", set(a, 0), forever},
		{"one of another process, for two days", set(b, 2*day), forever},
		{"renewed after that", renew(a), day},
		{"one for ever again", set(a, 0), forever},
	} {
		// Not at once: one process has to hear of the other's renewal.
		eventually(t, fmt.Sprintf("%s: the tag is kept for %v", step.what, step.kept), func() bool {
			if err := step.do(); err != nil {
				t.Fatal(step.what, err)
			}
			got := ca.Redis().PTTL(ctx, "pedro:v:t:n red").Val()
			return got == step.kept || step.kept != forever && got <= step.kept && got > step.kept-time.Hour
		})
	}
	if err := a.Clear(ctx); err != nil {
		t.Fatal(err)
	}
	if got := ca.Redis().PTTL(ctx, "pedro:v:g:n").Val(); got != forever {
		t.Errorf("the namespace's generation is kept for %v, want for ever", got)
	}
}

// TestVersionIsMade: a process that remembers that there is none makes one all
// the same for what it stores: what carries none would come back to life when
// Redis evicts a version.
func TestVersionIsMade(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[int](c, "n", rediscache.Near(10), rediscache.Tags("red"))
	eventually(t, "the stream lives", func() bool { return c.Stats().Coherent })
	if err := n.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	if err := c.Redis().Del(ctx, "pedro:v:g:n", "pedro:v:t:n red").Err(); err != nil { // as an eviction does
		t.Fatal(err)
	}
	eventually(t, "what carries them is void", func() bool { _, err := n.Get(ctx, "k"); return errors.Is(err, rediscache.ErrNotFound) })
	if err := n.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	if made := c.Redis().Exists(ctx, "pedro:v:g:n", "pedro:v:t:n red").Val(); made != 2 {
		t.Errorf("%d versions in Redis, want those of the namespace and the tag", made)
	}
}

// TestLastRenewalCounts: what a process has renewed itself it takes from Redis
// all the same, where another one may have renewed it since.
func TestLastRenewalCounts(t *testing.T) {
	t.Parallel()
	url, ctx := rediscachetest.Start(t), t.Context()
	a := rediscache.Of[int](open(t, rediscache.Config{URL: url, Required: true}), "n", rediscache.Tags("red"))
	b := rediscache.Of[int](open(t, rediscache.Config{URL: url, Required: true}), "n", rediscache.Tags("red"))
	for what, renew := range map[string]func(n *rediscache.Namespace[int]) error{
		"DelTags": func(n *rediscache.Namespace[int]) error { return n.DelTags(ctx, "red") },
		"Clear":   func(n *rediscache.Namespace[int]) error { return n.Clear(ctx) },
	} {
		for _, n := range []*rediscache.Namespace[int]{a, b} {
			if err := renew(n); err != nil {
				t.Fatal(what, err)
			}
		}
		eventually(t, what+": what the first process stores, the other one finds", func() bool {
			if err := a.Set(ctx, "k", 1); err != nil {
				t.Fatal(what, err)
			}
			v, err := b.Get(ctx, "k")
			return v == 1 && err == nil
		})
		if err := renew(b); err != nil {
			t.Fatal(what, err)
		}
		eventually(t, what+" of the other process voids it", func() bool {
			_, err := a.Get(ctx, "k")
			return errors.Is(err, rediscache.ErrNotFound)
		})
	}
}
