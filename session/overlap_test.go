package session_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

type slowFirst struct {
	armed, done atomic.Bool
	delay       time.Duration
	before      func() // before it is sent
	after       func() // before the reply is handed on
	match       func(cmd redis.Cmder) bool
}

func (h *slowFirst) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *slowFirst) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *slowFirst) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.match(cmd) && h.armed.CompareAndSwap(true, false) {
			if h.before != nil {
				h.before()
			}
			time.Sleep(h.delay)
			err := next(context.WithoutCancel(ctx), cmd)
			if h.after != nil {
				h.after()
			}
			h.done.Store(true)
			return err
		}
		return next(ctx, cmd)
	}
}

func isScript(cmd redis.Cmder) bool { return strings.HasPrefix(cmd.Name(), "eval") }

// TestLateCreateAfterLogout: a login that was stuck on its way to Redis arrives
// after the logout.
func TestLateCreateAfterLogout(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	client := dial(t, url)
	warm := newBrowser(t, app(t, open(t, client, session.Config{}))) // Redis knows the scripts
	warm.want("/login?u=x", 200, "")
	h := &slowFirst{delay: 1500 * time.Millisecond, match: isScript}
	slow := dial(t, url)
	slow.AddHook(h)
	m := open(t, slow, session.Config{})
	b := newBrowser(t, app(t, m))
	h.armed.Store(true)
	b.want("/login?u=ada", 200, "")
	cookie := b.cookies()
	b.want("/me", 200, "ada")
	b.want("/logout", 200, "")
	eventually(t, "in step", inStep(m))
	eventually(t, "arrived", h.done.Load)
	other := app(t, open(t, dial(t, url), session.Config{}))
	if code, body, _ := raw(t, other+"/me", cookie); code != 401 {
		t.Errorf("a session that was logged out: got %d %q, want 401", code, body)
	}
}

// TestMemoryIsFullWhenOutageBegins: whoever was answered is known, however full
// the memory is.
func TestMemoryIsFullWhenOutageBegins(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	m := open(t, dial(t, s.URL()), session.Config{MemoryBytes: 1 << 16, Timeout: time.Second})
	base := app(t, m)
	var users []*browser
	for range 60 {
		users = append(users, newBrowser(t, base))
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Resume() }()
	var wg sync.WaitGroup
	for i, b := range users {
		wg.Go(func() { b.want(fmt.Sprintf("/set?k=a&v=%d", i), 200, "") })
	}
	wg.Wait()
	lost := 0
	for i, b := range users {
		if _, v := b.get("/get?k=a"); v != fmt.Sprint(i) {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d sessions made as the outage began are unknown", lost, len(users))
	}
}

// TestLocalCacheOverwritesEnd: the message of a logout elsewhere comes between
// a save here and its reply.
func TestLocalCacheOverwritesEnd(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	client := dial(t, url)
	cfg := session.Config{LocalCache: 20 * time.Second, Timeout: 5 * time.Second}
	other := app(t, open(t, dial(t, url), cfg))
	h := &slowFirst{match: isScript}
	client.AddHook(h)
	m := open(t, client, cfg)
	b := newBrowser(t, app(t, m))
	b.want("/login?u=ada", 200, "")
	time.Sleep(300 * time.Millisecond) // for the subscription: without it nothing is cached, and nothing to be seen
	cookie := b.cookies()
	h.after = func() {
		if code, _, _ := raw(t, other+"/logout", cookie); code != 200 {
			t.Error(code)
		}
		time.Sleep(200 * time.Millisecond) // its message is here
	}
	h.armed.Store(true)
	raw(t, b.base+"/set?k=a&v=1", cookie)
	if !h.done.Load() {
		t.Fatal("hook not run")
	}
	if code, body, _ := raw(t, b.base+"/me", cookie); code != 401 {
		t.Errorf("after the logout: got %d %q, want 401", code, body)
	}
}
