package faultproxy_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

func TestRedisMessages(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			t.Parallel()
			s := rediscachetest.StartServer(t)
			p := faultproxy.Start(t, s.Addr(), faultproxy.Redis())
			c := redis.NewClient(&redis.Options{Addr: p.Addr(), Protocol: protocol, MaxRetries: -1, DisableIdentity: true, PoolSize: 1})
			defer c.Close()
			if err := c.Ping(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			var (
				mu   sync.Mutex
				seen []string
			)
			p.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
				words := strings.Join(m.Args, " ")
				if m.Commands("hello") || m.Replies("hello") {
					return faultproxy.Pass // the client may open another connection
				}
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, m.Dir.String()+" "+words[:min(12, len(words))])
				return faultproxy.Pass
			})
			big := strings.Repeat("x", 1<<20)
			if err := c.Set(t.Context(), "big", big, 0).Err(); err != nil {
				t.Fatal(err)
			}
			if got, err := c.Get(t.Context(), "big").Result(); err != nil || got != big {
				t.Fatalf("a long value: got %d bytes, %v, want %d", len(got), err, len(big))
			}
			_, err := c.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
				pipe.HSet(t.Context(), "h", "f", "1")
				pipe.HGetAll(t.Context(), "h")
				pipe.Get(t.Context(), "none")
				return nil
			})
			if err != nil && err != redis.Nil { //nolint:errorlint // the last reply, unwrapped
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			var to, from []string
			for _, s := range seen {
				if command, ok := strings.CutPrefix(s, "to server "); ok {
					to = append(to, command)
				} else {
					from = append(from, strings.TrimPrefix(s, "to client "))
				}
			}
			want := []string{"set big xxxx", "get big", "hset h f 1", "hgetall h", "get none"}
			if !slices.Equal(to, want) || !slices.Equal(from, want) {
				t.Errorf("commands: got %q and replies to %q, want both %q", to, from, want)
			}
		})
	}
}

func TestRedisLostReply(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	p := faultproxy.Start(t, s.Addr(), faultproxy.Redis())
	p.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if m.Replies("incr") {
			return faultproxy.Cut
		}
		return faultproxy.Pass
	})
	c := redis.NewClient(&redis.Options{Addr: p.Addr(), MaxRetries: -1})
	defer c.Close()
	if err := c.Incr(t.Context(), "n").Err(); err == nil {
		t.Error("INCR whose reply is lost: got no error, want one")
	}
	if got, err := s.Do(t.Context(), "GET", "n"); err != nil || got != "1" {
		t.Errorf("the number: got %v, %v, want that it was counted", got, err)
	}
}
