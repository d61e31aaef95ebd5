package session_test

import (
	"context"
	"fmt"
	"net"
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

// TestLateCreateAfterEviction: the login was stuck on its way when another
// one made it one too many.
func TestLateCreateAfterEviction(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	client := dial(t, url)
	newBrowser(t, app(t, open(t, client, session.Config{}))).want("/login?u=x", 200, "")
	arrive := make(chan struct{})
	h := &slowFirst{match: isScript, before: func() { <-arrive }}
	slow := dial(t, url)
	slow.AddHook(h)
	m := open(t, slow, session.Config{MaxPerUser: 1})
	base := app(t, m)
	b := newBrowser(t, base)
	h.armed.Store(true)
	b.want("/login?u=ada", 200, "")
	cookie := b.cookies()
	eventually(t, "in step", inStep(m))
	time.Sleep(10 * time.Millisecond)
	newBrowser(t, base).want("/login?u=ada", 200, "") // one too many: the first goes
	eventually(t, "in step", inStep(m))
	close(arrive)
	eventually(t, "arrived", h.done.Load)
	other := app(t, open(t, dial(t, url), session.Config{}))
	if code, body, _ := raw(t, other+"/me", cookie); code != 401 {
		t.Errorf("evicted: got %d %q, want 401", code, body)
	}
}

// A replyLost connection loses the reply to the script that is sent while lose is
// set, and all that follow.
type replyLost struct {
	net.Conn
	lose, lost *atomic.Bool
	block      atomic.Bool
}

func (c *replyLost) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "evalsha") && c.lose.CompareAndSwap(true, false) {
		c.block.Store(true)
		c.lost.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *replyLost) Read(p []byte) (int, error) {
	if c.block.Load() { // what comes is lost; the read deadline ends it
		for {
			if _, err := c.Conn.Read(p); err != nil {
				return 0, err
			}
		}
	}
	return c.Conn.Read(p)
}

// TestCreateSentAgainAfterLogout: the login had arrived, its reply was lost,
// and the client sends it again after the logout.
func TestCreateSentAgainAfterLogout(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	newBrowser(t, app(t, open(t, dial(t, url), session.Config{}))).want("/login?u=x", 200, "")
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	var lose, lost atomic.Bool
	opts.ReadTimeout = time.Second // go-redis sends it again then, as it does by default (MaxRetries 3)
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &replyLost{Conn: c, lose: &lose, lost: &lost}, err
	}
	client := redis.NewClient(opts)
	t.Cleanup(func() { _ = client.Close() })
	m := open(t, client, session.Config{})
	b := newBrowser(t, app(t, m))
	lose.Store(true)
	b.want("/login?u=ada", 200, "")
	if !lost.Load() {
		t.Fatal("nothing lost")
	}
	cookie := b.cookies()
	eventually(t, "in step", inStep(m))
	b.want("/logout", 200, "")
	eventually(t, "in step", inStep(m))
	time.Sleep(2 * time.Second)
	other := app(t, open(t, dial(t, url), session.Config{}))
	if code, body, _ := raw(t, other+"/me", cookie); code != 401 {
		t.Errorf("logged out: got %d %q, want 401", code, body)
	}
}
