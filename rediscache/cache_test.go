package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/internal/ports"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

type user struct {
	ID    int
	Name  string
	Roles []string
}

func TestAdHoc(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	want := user{ID: 1, Name: "Ana", Roles: []string{"admin"}}
	if err := c.Set(ctx, "u:1", want, time.Minute); err != nil {
		t.Fatal(err)
	}
	var got user
	if err := c.Get(ctx, "u:1", &got); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Get = %v and %v, want %v", got, err, want)
	}
	raw, err := c.Redis().Get(ctx, "u:1").Result()
	if err != nil || raw != `{"ID":1,"Name":"Ana","Roles":["admin"]}` {
		t.Errorf("stored %q and %v, want plain JSON", raw, err)
	}
	if ttl := c.Redis().PTTL(ctx, "u:1").Val(); ttl <= 50*time.Second || ttl > time.Minute {
		t.Errorf("TTL = %v, want a minute", ttl)
	}
	if n, err := c.Del(ctx, "u:1", "u:2"); n != 1 || err != nil {
		t.Errorf("Del = %d and %v, want 1", n, err)
	}
	if err := c.Get(ctx, "u:1", &got); !errors.Is(err, rediscache.ErrNotFound) {
		t.Errorf("Get after Del = %v, want ErrNotFound", err)
	}
	if err := c.Set(ctx, "", 1, 0); err == nil {
		t.Error("Set takes an empty key")
	}
	if err := c.Set(ctx, "f", func() {}, 0); err == nil {
		t.Error("Set takes a function")
	}
	c.Redis().Set(ctx, "bad", "{", 0)
	if err := c.Get(ctx, "bad", &got); !errors.Is(err, rediscache.ErrNotFound) {
		t.Errorf("Get of what is no JSON = %v, want ErrNotFound", err)
	}
	c.Redis().Set(ctx, "good", "{}", 0)
	if err := c.Get(ctx, "good", user{}); err == nil || errors.Is(err, rediscache.ErrNotFound) {
		t.Errorf("Get into a value = %v, want the mistake named", err)
	}
}

func TestClearPattern(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	pipe := c.Redis().Pipeline()
	for i := range 3_000 {
		pipe.Set(ctx, fmt.Sprintf("user:%d", i), i, 0)
		pipe.Set(ctx, fmt.Sprintf("order:%d", i), i, 0)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	var last int64
	n, err := c.ClearPattern(ctx, "user:*", rediscache.ClearProgress(func(deleted int64) { last = deleted }))
	if n != 3_000 || err != nil || last != 3_000 {
		t.Errorf("ClearPattern = %d and %v, progress to %d, want 3000", n, err, last)
	}
	if left := c.Redis().DBSize(ctx).Val(); left != 3_000 {
		t.Errorf("%d keys left, want the 3000 others", left)
	}
	if _, err := c.ClearPattern(ctx, ""); err == nil {
		t.Error("ClearPattern takes an empty pattern")
	}
	canceled, cancel := context.WithCancel(ctx)
	n, err = c.ClearPattern(canceled, "order:*", rediscache.ClearRate(10_000), rediscache.ClearProgress(func(deleted int64) {
		if deleted > 0 {
			cancel()
		}
	}))
	if n == 0 || n == 3_000 || !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted ClearPattern = %d and %v, want a part and the cause", n, err)
	}
}

func TestStartRequired(t *testing.T) {
	t.Parallel()
	addr := closedPort(t)
	cfg := rediscache.Config{URL: "redis://" + addr, Required: true}
	c, err := rediscache.New(cfg, rediscache.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop(context.Background())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	err = c.Start(ctx)
	if !errors.Is(err, rediscache.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), addr) {
		t.Errorf("Start = %v, want ErrUnavailable, the deadline and the address", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Start took %v of 300 ms", took)
	}
}

func TestStartOptional(t *testing.T) {
	t.Parallel()
	c := open(t, rediscache.Config{URL: "redis://" + closedPort(t)})
	if got := c.State(); got != rediscache.StateDown {
		t.Errorf("State = %v, want down", got)
	}
	users := rediscache.Of[user](c, "user")
	got, err := users.Load(t.Context(), "1", func(context.Context, string) (user, error) { return user{ID: 1}, nil })
	if err != nil || got.ID != 1 {
		t.Errorf("Load without Redis = %v and %v, want the loader's value", got, err)
	}
	if _, err := users.Get(t.Context(), "2"); !errors.Is(err, rediscache.ErrUnavailable) {
		t.Errorf("Get without Redis = %v, want ErrUnavailable", err)
	}
}

func TestStopIsSafe(t *testing.T) {
	t.Parallel()
	c, err := rediscache.New(rediscache.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Stop(t.Context()); err != nil {
			t.Errorf("Stop without Start, or twice = %v, want nil", err)
		}
	}
	if err := c.Start(t.Context()); !errors.Is(err, rediscache.ErrClosed) {
		t.Errorf("Start after Stop = %v, want ErrClosed", err)
	}
	if err := c.Ping(t.Context()); !errors.Is(err, rediscache.ErrClosed) {
		t.Errorf("Ping after Stop = %v, want ErrClosed", err)
	}
}

func TestJoinsLater(t *testing.T) {
	t.Parallel()
	server := rediscachetest.StartServer(t)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	c := open(t, rediscache.Config{URL: server.URL()})
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "up after the server came", func() bool { return c.State() == rediscache.StateUp })
	if err := c.Set(t.Context(), "k", 1, 0); err != nil {
		t.Errorf("Set after the server came: %v", err)
	}
}

func TestACL(t *testing.T) {
	t.Parallel()
	server := rediscachetest.StartServer(t, devservices.WithPassword("canary-root"))
	if _, err := server.Do(t.Context(), "ACL", "SETUSER", "app", "on", ">canary-app", "~*", "&*", "+@all"); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(server.Addr())
	cfg := rediscache.Config{URL: fmt.Sprintf("redis://app:canary-app@%s:%s", host, port), Required: true}
	c := open(t, cfg)
	if who := c.Redis().Do(t.Context(), "ACL", "WHOAMI").Val(); who != "app" {
		t.Errorf("WHOAMI = %v, want app", who)
	}
	c = open(t, rediscache.Config{URL: "redis://" + server.Addr(), Required: true},
		rediscache.WithCredentials(func(context.Context) (string, string, error) { return "app", "canary-app", nil }))
	if who := c.Redis().Do(t.Context(), "ACL", "WHOAMI").Val(); who != "app" {
		t.Errorf("WHOAMI with WithCredentials = %v, want app", who)
	}

	wrong, err := rediscache.New(rediscache.Config{URL: "redis://app:canary-wrong@" + server.Addr(), Required: true})
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Stop(context.Background())
	err = wrong.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "REDIS_PASSWORD") || strings.Contains(err.Error(), "canary") {
		t.Errorf("Start with a wrong password = %v, want it to fail at once, name the variable and show no secret", err)
	}
}

// closedPort returns an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	port, err := ports.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(port.Release)
	return port.Addr()
}
