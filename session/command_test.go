package session_test

import (
	"bufio"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// monitor counts commands at the server: those that clients send, without the
// background's.
type monitor struct {
	mu    sync.Mutex
	lines []string
}

func newMonitor(t *testing.T, addr string) *monitor {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("MONITOR\r\n")); err != nil {
		t.Fatal(err)
	}
	m := &monitor{}
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+OK") {
		t.Fatalf("MONITOR = %q, %v", line, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			m.mu.Lock()
			m.lines = append(m.lines, line)
			m.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	return m
}

// during returns the commands that came while f ran. mark is a command that is
// sent after it, so that all before it are in.
func (m *monitor) during(t *testing.T, mark func(name string), f func()) []string {
	t.Helper()
	mark("begin") // all before it are in when it is
	eventually(t, "the first mark", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		if n := len(m.lines); n == 0 || !strings.Contains(m.lines[n-1], `"begin"`) {
			return false
		}
		m.lines = nil
		return true
	})
	f()
	mark("end")
	var out []string
	eventually(t, "the mark", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		out = nil
		for _, line := range m.lines {
			switch {
			case strings.Contains(line, `"end"`):
				return true
			case strings.Contains(line, " lua]"), !strings.Contains(line, `"session:`) && !strings.Contains(line, `"sess:`):
			case strings.Contains(line, `"session:epoch"`), strings.Contains(line, `"session:probe"`), strings.Contains(line, `"session:events"`) && strings.Contains(strings.ToLower(line), `"subscribe"`):
			default:
				out = append(out, line)
			}
		}
		return false
	})
	return out
}

// TestCommands counts what each kind of request costs Redis.
func TestCommands(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	client := dial(t, s.URL())
	m := open(t, client, session.Config{})
	base := app(t, m)
	mon := newMonitor(t, s.Addr())
	mark := func(name string) { client.Echo(t.Context(), name) }
	b := newBrowser(t, base)
	b.want("/login?u=ada", 200, "")
	b.want("/logout", 200, "") // Redis knows the scripts now
	b.want("/login?u=ada", 200, "")
	stranger := newBrowser(t, base)
	for _, c := range []struct {
		name string
		want int
		f    func()
	}{
		{"anonymous", 0, func() { stranger.want("/anonymous", 200, "hello") }},
		{"anonymous that asks", 0, func() { stranger.want("/me", 401, "nobody") }},
		{"with a cookie that is not used", 0, func() { b.want("/anonymous", 200, "hello") }},
		{"forged", 0, func() { raw(t, base+"/me", "pedro.sid="+strings.Repeat("A", 43)+"."+strings.Repeat("A", 22)) }},
		{"authenticated read", 1, func() { b.want("/me", 200, "ada") }},
		{"write", 2, func() { b.want("/set?k=a&v=1", 200, "") }},
		{"write of what is there", 1, func() { b.want("/set?k=a&v=1", 200, "") }},
		{"ten reads", 10, func() {
			for range 10 {
				b.want("/me", 200, "ada")
			}
		}},
		{"new session", 1, func() { newBrowser(t, base).want("/set?k=a&v=1", 200, "") }},
		{"logout", 3, func() { b.want("/logout", 200, "") }}, // read, end, off the list
	} {
		got := mon.during(t, mark, c.f)
		if len(got) != c.want {
			t.Errorf("%s: %d commands, want %d: %q", c.name, len(got), c.want, got)
		}
	}
}

// TestForgedRedisstoreCookie: what taking over redisstore's sessions costs for a
// cookie that leads to none.
func TestForgedRedisstoreCookie(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	client := dial(t, s.URL())
	base := app(t, open(t, client, session.Config{}, session.WithRedisstoreRecords(session.RedisstoreConfig{Name: "app"})))
	mon := newMonitor(t, s.Addr())
	got := mon.during(t, func(name string) { client.Echo(t.Context(), name) }, func() { raw(t, base+"/me", "app="+strings.Repeat("A", 103)) })
	if len(got) != 3 {
		t.Errorf("%d commands, want 3: %q", len(got), got)
	}
}

// TestTouch: use is written down at most once every TouchEvery, and keeps a
// session alive.
func TestTouch(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{IdleTimeout: 2 * time.Second, TouchEvery: 500 * time.Millisecond})
	base := app(t, m)
	used, unused := newBrowser(t, base), newBrowser(t, base)
	used.want("/login?u=ada", 200, "")
	unused.want("/login?u=bob", 200, "")
	began := time.Now()
	for time.Since(began) < 4*time.Second {
		used.want("/me", 200, "ada")
		time.Sleep(20 * time.Millisecond)
	}
	unused.want("/me", 401, "nobody")
	took := time.Since(began)
	if n := m.Stats().Touches; n < 2 || n > int64(took/(500*time.Millisecond))+1 {
		t.Errorf("%d touches in %v, want one every 500 ms at most", n, took)
	}
	list, err := m.Sessions(t.Context(), "ada")
	if err != nil || len(list) != 1 || time.Since(list[0].LastSeen) > 3*time.Second || list[0].Requests < 10 {
		t.Errorf("Sessions = %+v, %v, want one that was seen just now by many requests", list, err)
	}
	if list, err := m.Sessions(t.Context(), "bob"); err != nil || len(list) != 0 {
		t.Errorf("Sessions of the one that expired = %+v, %v, want none", list, err)
	}
}
