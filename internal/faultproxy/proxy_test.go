package faultproxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/internal/ports"
)

// echo is a server that sends back what it gets. It returns its address and how many bytes it got.
func echo(t *testing.T) (addr string, got func() int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		count int
	)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					mu.Lock()
					count += n
					mu.Unlock()
					if _, werr := c.Write(buf[:n]); err != nil || werr != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}

func dial(t *testing.T, p *faultproxy.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatalf("dial: got error %v, want none", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// say sends text and returns the echo, of which it waits for n bytes and no longer than limit.
func say(c net.Conn, text string, limit time.Duration) (string, error) {
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	return hear(c, len(text), limit)
}

func hear(c net.Conn, n int, limit time.Duration) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	buf := make([]byte, n)
	got, err := io.ReadFull(c, buf)
	return string(buf[:got]), err
}

const (
	long  = 20 * time.Second       // for what has to happen
	short = 100 * time.Millisecond // for what must not
)

func mustSay(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if got, err := say(c, text, long); err != nil || got != text {
		t.Fatalf("echo of %q: got %q, %v", text, got, err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(long)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", long, what)
		}
		time.Sleep(time.Millisecond)
	}
}

func heal(t *testing.T, p *faultproxy.Proxy) {
	t.Helper()
	if err := p.Heal(); err != nil {
		t.Fatalf("Heal: got error %v, want none", err)
	}
}

func TestPassesEverythingInOrder(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultproxy.Start(t, addr)
	c := dial(t, p)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		_, _ = c.Write(want)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("echo of %d bytes: got %d, %v, want the same", len(want), len(got), err)
	}
	eventually(t, "the link is over", func() bool { return p.Links() == 0 })
	if got, want := p.Accepted(), 1; got != want {
		t.Errorf("Accepted() = %d, want %d", got, want)
	}
}

func TestLatencyDelaysEachDirectionAndKeepsOrder(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultproxy.Start(t, addr)
	c := dial(t, p)
	const latency = 50 * time.Millisecond
	p.Latency(latency, 20*time.Millisecond)
	begin := time.Now()
	mustSay(t, c, "hello")
	if took := time.Since(begin); took < 2*latency {
		t.Errorf("there and back: took %v, want %v or more", took, 2*latency)
	}
	var want string
	begin = time.Now()
	for i := range 50 {
		word := string(rune('A' + i%26))
		want += word
		if _, err := io.WriteString(c, word); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := hear(c, len(want), long); err != nil || got != want {
		t.Errorf("50 delayed messages: got %q, %v, want %q", got, err, want)
	}
	// Latency is a property of the line, not of each message: 50 of them in a row would take 5 s.
	if took := time.Since(begin); took > 50*latency {
		t.Errorf("50 messages at once: took %v, want about %v", took, 2*latency)
	}
}

func TestBandwidth(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultproxy.Start(t, addr)
	c := dial(t, p)
	p.Bandwidth(100_000)
	begin := time.Now()
	mustSay(t, c, string(make([]byte, 20_000)))
	if took := time.Since(begin); took < 150*time.Millisecond {
		t.Errorf("20 kB at 100 kB/s: took %v, want 200 ms or so", took)
	}
}

func TestRefuseAndHeal(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultproxy.Start(t, addr)
	open := dial(t, p)
	mustSay(t, open, "here") // until then the kernel has accepted it, and the proxy perhaps not
	for range 2 {
		if err := errors.Join(p.Refuse(), p.Refuse()); err != nil {
			t.Fatalf("Refuse twice: got error %v, want none", err)
		}
		if c, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			if err == nil {
				_ = c.Close()
			}
			t.Errorf("dial while refused: got error %v, want connection refused", err)
		}
		mustSay(t, open, "still here")
		heal(t, p)
		mustSay(t, dial(t, p), "again")
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultproxy.Start(t, addr)
	c := dial(t, p)
	mustSay(t, c, "x")
	p.Reset()
	if _, err := hear(c, 1, long); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read after Reset: got error %v, want connection reset", err)
	}
	mustSay(t, dial(t, p), "new connections work")
}

func TestServerThatIsAwayCutsTheClient(t *testing.T) {
	t.Parallel()
	port, err := ports.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(port.Release)
	p := faultproxy.Start(t, port.Addr())
	c, err := net.Dial("tcp", p.Addr())
	if err == nil { // else the reset was faster than the dialer
		defer c.Close()
		_, err = hear(c, 1, long)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("dial and read: got error %v, want connection reset", err)
	}
}

func TestHalfOpenAndBlackholeHoldUntilHealed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault   func(*faultproxy.Proxy)
		arrives bool // at the server
	}{
		"to server": {func(p *faultproxy.Proxy) { p.HalfOpen(faultproxy.ToServer) }, false},
		"to client": {func(p *faultproxy.Proxy) { p.HalfOpen(faultproxy.ToClient) }, true},
		"both":      {(*faultproxy.Proxy).Blackhole, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, count := echo(t)
			p := faultproxy.Start(t, addr)
			conn := dial(t, p)
			mustSay(t, conn, "x")
			c.fault(p)
			if got, err := say(conn, "lost?", short); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("echo meanwhile: got %q, %v, want a timeout", got, err)
			}
			if c.arrives {
				eventually(t, "the server has it", func() bool { return count() == 6 })
			} else if got, want := count(), 1; got != want {
				t.Errorf("bytes at the server meanwhile: got %d, want %d", got, want)
			}
			late := dial(t, p) // the kernel accepts, and nobody answers
			if got, err := say(late, "y", short); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("echo on a new connection: got %q, %v, want a timeout", got, err)
			}
			heal(t, p)
			if got, err := hear(conn, 5, long); err != nil || got != "lost?" {
				t.Errorf("echo after Heal: got %q, %v, want what was held up", got, err)
			}
		})
	}
}

func TestCutAfter(t *testing.T) {
	t.Parallel()
	addr, count := echo(t)
	p := faultproxy.Start(t, addr)
	c := dial(t, p)
	mustSay(t, c, "before")
	p.CutAfter(faultproxy.ToClient, 4)
	got, err := say(c, "0123456789", long)
	if got != "0123" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reply cut after 4 bytes: got %q, %v, want 0123 and a reset", got, err)
	}
	eventually(t, "the server has all", func() bool { return count() == 16 })
	if got, err := say(dial(t, p), "01234", long); got != "0123" || err == nil {
		t.Errorf("the same on the next connection: got %q, %v, want 0123 and an error", got, err)
	}
	p.CutAfter(faultproxy.ToServer, 3)
	before := count()
	if _, err := say(dial(t, p), "abcdef", long); err == nil {
		t.Error("request cut after 3 bytes: got no error, want one")
	}
	if got, want := count()-before, 3; got > want {
		t.Errorf("bytes at the server: got %d, want %d at most", got, want)
	}
	heal(t, p)
	mustSay(t, dial(t, p), "0123456789")
}

func TestHookSeesAndChangesPieces(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultproxy.Start(t, addr)
	p.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if m.Dir == faultproxy.ToClient && m.Link == 2 {
			m.Data = bytes.ToUpper(m.Data)
		}
		return faultproxy.Pass
	})
	first, second := dial(t, p), dial(t, p)
	mustSay(t, first, "hello")
	// Links are numbered as they are accepted, which may be the other way round.
	a, err := say(first, "abc", long)
	if err != nil {
		t.Fatal(err)
	}
	b, err := say(second, "abc", long)
	if err != nil {
		t.Fatal(err)
	}
	if a+b != "abcABC" {
		t.Errorf("echoes: got %q and %q, want the second in capitals", a, b)
	}
	p.OnMessage(nil)
	mustSay(t, second, "abc")
}

func TestCloseCutsAndIsIdempotent(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p, err := faultproxy.New(addr)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, p)
	mustSay(t, c, "x")
	p.Blackhole()
	p.Close()
	p.Close()
	if _, err := hear(c, 1, long); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read after Close: got error %v, want connection reset", err)
	}
	if err := p.Heal(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Heal after Close: got error %v, want net.ErrClosed", err)
	}
}
