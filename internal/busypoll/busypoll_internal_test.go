//go:build unix

package busypoll

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// A pair is a connection, and the server's end.
type pair struct {
	*Conn

	client, server net.Conn // client is what Conn has wrapped
}

func dial(t *testing.T, g *Group) *pair {
	t.Helper()
	return dialOn(t, g, "tcp", "127.0.0.1:0")
}

func dialOn(t *testing.T, g *Group, network, addr string) *pair {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var p pair
	if p.client, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if p.server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.server.Close() })
	conn := g.Wrap(p.client)
	t.Cleanup(func() { conn.Close() })
	if runtime.NumCPU() == 1 {
		if conn != p.client {
			t.Error("looks, with one processor")
		}
		t.Skip("with one processor nothing is looked for")
	}
	p.Conn = conn.(*Conn)
	return &p
}

// ask sends a request.
func (p *pair) ask(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(p, "?"); err != nil {
		t.Fatal(err)
	}
}

// send writes from the server's end, and waits until it has arrived.
func (p *pair) send(t *testing.T, s string) {
	t.Helper()
	if _, err := io.WriteString(p.server, s); err != nil {
		t.Fatal(err)
	}
	raw, err := p.client.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Read(func(fd uintptr) bool {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return n > 0 || !errors.Is(err, syscall.EAGAIN)
	}); err != nil {
		t.Fatal(err)
	}
}

// late reads, and nothing comes in time, nor later.
func (p *pair) late(t *testing.T) {
	t.Helper()
	if err := p.client.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Read(make([]byte, 8)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Read = %d, %v", n, err)
	}
	if err := p.client.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// prompt reads what is there already.
func (p *pair) prompt(t *testing.T) {
	t.Helper()
	p.send(t, "x")
	if n, err := p.Read(make([]byte, 8)); n != 1 || err != nil {
		t.Fatalf("Read = %d, %v", n, err)
	}
}

// TestRead: what is read is what was sent, whenever it comes.
func TestRead(t *testing.T) {
	t.Parallel()
	for network, addr := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		p := dialOn(t, new(Group), network, addr)
		var sent, got bytes.Buffer
		go func() {
			for i := range 2000 {
				part := bytes.Repeat([]byte{byte(i)}, 1+i%700)
				sent.Write(part)
				_, _ = p.server.Write(part)
				if i%20 == 0 {
					time.Sleep(time.Duration(i%7) * limit / 3)
				}
			}
			p.server.Close()
		}()
		if _, err := io.Copy(&got, p); err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		if !bytes.Equal(got.Bytes(), sent.Bytes()) {
			t.Errorf("%s: %d bytes read are not the %d that were sent", network, got.Len(), sent.Len())
		}
	}
}

// TestAdapts: who is not answered in time looks less and less, down to one reply of
// 1,024, and again at once when one came in time.
func TestAdapts(t *testing.T) {
	t.Parallel()
	p := dial(t, new(Group))
	var total uint64
	for i := range 4 {
		p.late(t)
		if want := uint64(1)<<(i+1) - 1; p.skip != want {
			t.Fatalf("after %d late replies %d are not looked for, want %d", i+1, p.skip, want)
		}
		for p.skip > 0 {
			p.prompt(t)
			total++
		}
	}
	if total != 1+3+7+15 {
		t.Errorf("%d replies were not looked for", total)
	}
	p.prompt(t)
	if p.misses != 0 || p.skip != 0 {
		t.Errorf("after a reply in time: %d misses, %d to skip", p.misses, p.skip)
	}
	p.misses = rarest
	p.late(t)
	if p.skip != 1<<rarest-1 {
		t.Errorf("%d are not looked for, want 1,023", p.skip)
	}
}

// TestAlone: nobody looks while another request of the group is under way.
func TestAlone(t *testing.T) {
	t.Parallel()
	var g Group
	p, other := dial(t, &g), dial(t, &g)
	stranger := dial(t, new(Group))
	stranger.ask(t)

	other.ask(t)
	other.ask(t) // in two pieces
	p.ask(t)
	if p.late(t); p.misses != 0 {
		t.Error("looked beside another request")
	}
	other.prompt(t)
	if p.late(t); p.misses != 1 {
		t.Error("did not look when alone")
	}
	other.ask(t)
	other.Close()
	other.Close()
	if _, err := io.WriteString(other, "?"); err == nil {
		t.Error("a closed connection takes a request")
	}
	for p.skip = 0; p.misses < 3; p.skip = 0 {
		before := p.misses
		if p.late(t); p.misses == before {
			t.Fatal("did not look after the other had closed")
		}
	}
	if p.prompt(t); g.under.Load() != 0 {
		t.Errorf("%d under way at the end", g.under.Load())
	}
}

// TestEnds: the end of a connection is told as by the connection itself.
func TestEnds(t *testing.T) {
	t.Parallel()
	t.Run("EOF", func(t *testing.T) {
		t.Parallel()
		p := dial(t, new(Group))
		p.server.Close()
		for range 2 {
			if n, err := p.Read(make([]byte, 8)); n != 0 || err != io.EOF { //nolint:errorlint // not wrapped
				t.Errorf("Read = %d, %v", n, err)
			}
		}
	})
	t.Run("reset", func(t *testing.T) {
		t.Parallel()
		p := dial(t, new(Group))
		if err := p.server.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		p.server.Close()
		n, err := p.Read(make([]byte, 8))
		op, ok := errors.AsType[*net.OpError](err)
		if n != 0 || !errors.Is(err, syscall.ECONNRESET) || !ok || op.Op != "read" || op.Addr.String() != p.client.RemoteAddr().String() {
			t.Errorf("Read = %d, %v", n, err)
		}
		if p.misses != 0 {
			t.Error("an error is taken for a reply that is late")
		}
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		p := dial(t, new(Group))
		p.client.Close()
		if n, err := p.Read(make([]byte, 8)); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read = %d, %v", n, err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		t.Parallel()
		p := dial(t, new(Group))
		if err := p.client.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(p.server, "x"); err != nil {
			t.Fatal(err)
		}
		if n, err := p.Read(make([]byte, 8)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read = %d, %v", n, err)
		}
		if err := p.client.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if n, err := p.Read(make([]byte, 8)); n != 1 || err != nil {
			t.Errorf("then Read = %d, %v", n, err)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		p := dial(t, new(Group))
		if n, err := p.Read(nil); n != 0 || err != nil {
			t.Errorf("Read = %d, %v", n, err)
		}
	})
}

// A counted connection sees what is read, as a host's own may want to.
type counted struct {
	*net.TCPConn

	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.n += n
	return n, err
}

// TestWrapped: what a host has wrapped is not read behind its back.
func TestWrapped(t *testing.T) {
	t.Parallel()
	p := dial(t, new(Group))
	c := &counted{TCPConn: p.client.(*net.TCPConn)}
	p.send(t, "abc")
	if n, err := new(Group).Wrap(c).Read(make([]byte, 8)); n != 3 || err != nil || c.n != 3 {
		t.Errorf("Read = %d, %v; the wrapper saw %d", n, err, c.n)
	}
}
