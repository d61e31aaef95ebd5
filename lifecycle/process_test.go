package lifecycle_test

import (
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/pedro-go/pedro/lifecycle"
)

// TestProcessStopsAtSIGTERM is the whole of a service's life, with a signal
// from the operating system.
func TestProcessStopsAtSIGTERM(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		c := startChild(t, "group")
		c.signal(t, sig)
		if code := c.wait(t); code != 0 {
			t.Errorf("exit code %d after %v, want 0", code, sig)
		}
	}
}

func TestProcessIsForcedByASecondSignal(t *testing.T) {
	t.Parallel()
	c := startChild(t, "hangs")
	c.signal(t, syscall.SIGTERM)
	eventually(t, "the drain to begin", func() bool { return !isReady(c.addr) })
	c.signal(t, syscall.SIGINT)
	if code := c.wait(t); code != 130 {
		t.Errorf("exit code %d, want 130, that of the forced stop", code)
	}
}

// TestSocketActivation passes a listener as systemd does. A connection that is
// made before the process runs is served by it.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	early, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	file, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := startChild(t, "activated", file)
	if c.addr != ln.Addr().String() {
		t.Errorf("the child listens on %s, want %s", c.addr, ln.Addr())
	}
	if !isReady(c.addr) {
		t.Error("the child does not answer")
	}
	c.signal(t, syscall.SIGTERM)
	if code := c.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func isReady(addr string) bool {
	resp, err := http.Get("http://" + addr + "/ready")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

var _ lifecycle.Component = (*lifecycle.Group)(nil)
