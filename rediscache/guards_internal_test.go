package rediscache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// testGate is a gate that spawns nothing by itself, and counts.
func testGate(addr string) (g *gate, deaths, changes *int, probe func(ctx context.Context)) {
	deaths, changes = new(int), new(int)
	var spawned func(ctx context.Context)
	g = &gate{addr: addr, timeout: time.Second}
	g.onDeath = func() { *deaths++ }
	g.onChange = func(*gate, error) { *changes++ }
	g.spawn = func(f func(ctx context.Context)) bool { spawned = f; return true }
	return g, deaths, changes, func(ctx context.Context) { spawned(ctx) }
}

// TestGateOpens: what opens it, and what counts as the death of the server.
func TestGateOpens(t *testing.T) {
	t.Parallel()
	const long = time.Second
	type note struct {
		class class
		took  time.Duration
		late  bool // began before the last opening
	}
	for name, tt := range map[string]struct {
		notes  []note
		open   bool
		deaths int
	}{
		"refused":              {[]note{{class: classRefused}}, true, 1},
		"loading":              {[]note{{class: classNotReady}}, true, 0},
		"one timeout":          {[]note{{class: classTimeout, took: long}}, false, 0},
		"two timeouts":         {[]note{{class: classTimeout, took: long}, {class: classTimeout, took: long}}, true, 0},
		"short timeouts":       {[]note{{class: classTimeout, took: time.Millisecond}, {class: classTimeout, took: time.Millisecond}}, false, 0},
		"timeout, ok, timeout": {[]note{{class: classTimeout, took: long}, {class: classOK}, {class: classTimeout, took: long}}, false, 0},
		"one broken":           {[]note{{class: classBroken}}, false, 0},
		"two broken":           {[]note{{class: classBroken}, {class: classBroken}}, true, 1},
		"late":                 {[]note{{class: classRefused, late: true}}, false, 0},
	} {
		g, deaths, _, _ := testGate("")
		g.epoch.Store(1)
		for _, n := range tt.notes {
			epoch := g.epoch.Load()
			if n.late {
				epoch--
			}
			g.failed(n.class, io.EOF, epoch, n.took)
		}
		if open := g.allow() != nil; open != tt.open || *deaths != tt.deaths {
			t.Errorf("%s: open %v and %d deaths, want %v and %d", name, open, *deaths, tt.open, tt.deaths)
		}
	}
}

// What began before an outage says nothing after it.
func TestGateForgets(t *testing.T) {
	t.Parallel()
	g, _, changes, _ := testGate("")
	before := g.epoch.Load()
	g.failed(classRefused, io.EOF, before, 0)
	g.close()
	g.failed(classRefused, io.EOF, before, 0)
	if g.allow() != nil || *changes != 2 {
		t.Errorf("open %v after %d changes; a call of before the outage opened it again", g.allow() != nil, *changes)
	}
	g.spawn = func(func(context.Context)) bool { return false } // stopped
	g.failed(classRefused, io.EOF, g.epoch.Load(), 0)
	if g.allow() != nil {
		t.Error("open with nobody to probe")
	}
}

// TestGateProbes: for how long, and how often, it is asked whether the server
// is back.
func TestGateProbes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		addr   string
		err    error
		after  time.Duration
		open   bool
		probes [2]int // at least and at most
	}{
		"back":           {"", nil, 0, false, [2]int{1, 1}},
		"one server":     {"", io.EOF, 2 * nodePatience, true, [2]int{1000, 4000}},
		"node":           {"a:1", io.EOF, nodePatience - time.Second, true, [2]int{500, 2000}},
		"node, for good": {"a:1", io.EOF, 2 * nodePatience, false, [2]int{500, 2000}},
		"credentials":    {"", replyError("NOAUTH Authentication required."), 10 * time.Second, true, [2]int{9, 25}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g, _, _, probe := testGate(tt.addr)
				probes := 0
				g.prober = func() (func(context.Context) error, func()) {
					return func(context.Context) error { probes++; return tt.err }, func() {}
				}
				g.open(io.EOF, false)
				ctx, cancel := context.WithCancel(t.Context())
				go probe(ctx)
				time.Sleep(tt.after)
				synctest.Wait()
				if open := g.allow() != nil; open != tt.open || probes < tt.probes[0] || probes > tt.probes[1] {
					t.Errorf("open %v after %d probes, want %v and %v", open, probes, tt.open, tt.probes)
				}
				if tt.err == nil && !g.answered.Load() {
					t.Error("a PONG is no answer")
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

type replyError string

func (e replyError) Error() string { return string(e) }
func (replyError) RedisError()     {}

// TestGuardLimits: the largest reply that passes, of each kind, and the next
// one.
func TestGuardLimits(t *testing.T) {
	t.Parallel()
	const limit = 1024
	for text, ok := range map[string]bool{
		"$1024\r\n": true, "$1025\r\n": false, "!1025\r\n": false, "=1025\r\n": false,
		"*64\r\n": true, "*65\r\n": false, "~65\r\n": false, ">65\r\n": false, "%32\r\n": true, "%33\r\n": false, "|33\r\n": false,
		strings.Repeat("*1\r\n", 32) + ":1\r\n": true, strings.Repeat("*1\r\n", 33): false,
		// An attribute is no element of its own: the limit applies to what follows.
		"|1\r\n+a\r\n+b\r\n*1\r\n$5\r\nhello\r\n$1025\r\n": false,
		"+" + strings.Repeat("x", 64<<10) + "\r\n":         false,
		"+" + strings.Repeat("x", 64<<10-1) + "\r\n":       true,
		"$9223372036854775809\r\n":                         false, "$18446744073709551617\r\n": false,
		"$5\r\n$9999\r\n+OK\r\n": true, // within the string
	} {
		s := newReplyScanner(limit)
		if err := s.next([]byte(text)); (err == nil) != ok || err != nil && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%.40q: %v, want accepted %v", text, err, ok)
		}
	}
}

// Attributes and nesting leave the levels as they were.
func TestGuardDepth(t *testing.T) {
	t.Parallel()
	for text, depth := range map[string]int{
		"*2\r\n:1\r\n":                        1,
		"*2\r\n:1\r\n:2\r\n":                  0,
		"*1\r\n*1\r\n*2\r\n:1\r\n":            3,
		"|1\r\n+a\r\n+b\r\n":                  1, // the reply that it belongs to is to come
		"|1\r\n+a\r\n+b\r\n:1\r\n":            0,
		"%1\r\n+a\r\n":                        1,
		"%1\r\n+a\r\n+b\r\n":                  0,
		"*1\r\n$-1\r\n":                       0,
		"*-1\r\n":                             0,
		"*1\r\n$3\r\nabc\r\n":                 0,
		"*2\r\n$3\r\nabc\r\n":                 1,
		"*1\r\n|1\r\n+a\r\n+b\r\n$1\r\nx\r\n": 0,
		"*2\r\n|1\r\n+a\r\n+b\r\n$1\r\nx\r\n": 1,
	} {
		s := newReplyScanner(1024)
		if err := s.next([]byte(text)); err != nil || s.depth != depth {
			t.Errorf("%q: depth %d and %v, want %d", text, s.depth, err, depth)
		}
	}
}

// TestGuardSocket: connections that must not be used again look dead to
// go-redis.
func TestGuardSocket(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	var deaths atomic.Uint32
	c := newGuardConn(conn, 1024, &deaths)
	if _, err := fmt.Fprint(peer, "+OK\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond)
	if raw, err := c.SyscallConn(); err != nil || raw == (opaqueConn{}) {
		t.Errorf("a quiet connection is not looked at (%v)", err)
	}
	deaths.Add(1)
	if _, err := c.SyscallConn(); err == nil {
		t.Error("a connection of before the server's death passes for healthy")
	}
	c = newGuardConn(conn, 1024, &deaths)
	if _, err := fmt.Fprint(peer, "$9999\r\n"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // for good
		if _, err := c.Read(make([]byte, 16)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Read = %v, want ErrTooLarge", err)
		}
	}
	if _, err := c.SyscallConn(); err == nil {
		t.Error("a broken connection passes for healthy")
	}
}

// TestVersionMemory: what is remembered of a version, and what makes it
// unknown.
func TestVersionMemory(t *testing.T) {
	t.Parallel()
	co := new(coherence)
	co.epoch.Store(1)
	v := &version{key: versionPrefix + "t:n x"}
	learn := func(value uint64) { _, seq := v.remembered(co); v.learn(value, seq, 1) }
	check := func(what string, want uint64) {
		t.Helper()
		if got, _ := v.remembered(co); got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	check("at first", versionUnknown)
	learn(7)
	check("learnt", 7)
	co.epoch.Store(2)
	check("without a stream", versionUnknown)
	co.epoch.Store(3)
	check("in another epoch", versionUnknown)
	co.epoch.Store(1)
	_, seq := v.remembered(co)
	v.forget()
	v.learn(8, seq, 1) // asked for before
	check("forgotten since the question", versionUnknown)
	if !v.idle() {
		t.Error("a tag that nothing is pending of is not idle")
	}
	v.pending = 9
	if v.idle() {
		t.Error("a pending tag is idle: it would be forgotten")
	}
	check("pending", 9)
	co.epoch.Store(2)
	check("pending without a stream", 9)
	if (&version{key: generationKey("n")}).idle() {
		t.Error("a generation is idle")
	}
}
