package rediscache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/pedro-go/pedro/internal/backoff"
)

// How an invalidation stream shows that it lives. A stream that is silent for
// twice streamPing is dead, and what it should have invalidated is dropped:
// that is the bound of staleness when the network swallows packets.
const (
	streamPing  = 500 * time.Millisecond
	streamReply = 2 * time.Second // within a message, or for the handshake
)

var streamPauses = backoff.Policy{Min: 20 * time.Millisecond, Max: 250 * time.Millisecond}

// channel is where writes are published when Redis, or a proxy before it,
// offers no tracking.
const channel = "pedro:invalidate"

// A stream listens to the invalidations of one node.
type stream struct {
	co     *coherence
	addr   string
	cancel context.CancelFunc
	done   chan struct{}
	up     bool // guarded by co.mu
}

// run keeps the stream connected until ctx ends.
func (s *stream) run(ctx context.Context) {
	defer close(s.done)
	for attempt := 0; ; attempt++ {
		began := time.Now()
		err := s.listen(ctx)
		s.co.streamDown(s, err)
		if time.Since(began) > streamPing {
			attempt = 0
		}
		if streamPauses.Wait(ctx, attempt) != nil {
			return
		}
	}
}

// listen connects, subscribes, and delivers invalidations until something
// breaks.
func (s *stream) listen(ctx context.Context) error {
	conn, err := s.co.link.dialer.open(ctx, s.addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	// Reads wait for longer than ctx may last.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	rc := newRespConn(conn)
	tracking, err := s.subscribe(ctx, rc)
	if err != nil {
		return err
	}
	if tracking {
		s.co.streamUp(s, true)
	}
	return s.deliver(rc, tracking)
}

// subscribe logs in and asks for invalidations: by tracking, which sees the
// writes of every program, or by the channel on which this package's processes
// tell each other.
func (s *stream) subscribe(ctx context.Context, rc *respConn) (tracking bool, err error) {
	username, password, err := s.co.credentials(ctx)
	if err != nil {
		return false, err
	}
	hello := []string{"HELLO", "3"}
	if password != "" {
		hello = append(hello, "AUTH", orDefault(username), password)
	}
	_, err = rc.do(streamReply, append(hello, "SETNAME", s.co.name)...)
	refused, isReply := errors.AsType[respError](err)
	switch {
	case err == nil:
		args := []string{"CLIENT", "TRACKING", "ON", "BCAST"}
		for _, prefix := range s.co.prefixes() {
			args = append(args, "PREFIX", prefix)
		}
		if _, err = rc.do(streamReply, args...); err == nil {
			return true, nil
		}
		if _, ok := errors.AsType[respError](err); !ok {
			return false, err
		}
	case !isReply:
		return false, err
	case classifyAuthText(string(refused)):
		return false, err
	case password != "":
		auth := []string{"AUTH", username, password}
		if username == "" {
			auth = []string{"AUTH", password}
		}
		if _, err = rc.do(streamReply, auth...); err != nil {
			return false, err
		}
	}
	// The confirmation is a push in RESP3 and a reply before; deliver waits for it.
	return false, rc.send(streamReply, "SUBSCRIBE", channel)
}

func orDefault(username string) string {
	if username == "" {
		return "default"
	}
	return username
}

func classifyAuthText(s string) bool {
	return len(s) >= 9 && s[:9] == "WRONGPASS" || len(s) >= 6 && s[:6] == "NOAUTH"
}

var (
	errSilent  = errors.New("the invalidation stream is silent")
	errDemoted = errors.New("the server is no longer a master")
)

// deliver reads messages until the stream breaks. Silence is answered by a
// question, and silence after that is a break.
func (s *stream) deliver(rc *respConn, tracking bool) error {
	asked := false
	for {
		arrives, err := rc.waiting(streamPing)
		if err != nil {
			return err
		}
		if !arrives {
			if asked {
				return errSilent
			}
			asked = true
			question := "PING"
			if tracking && s.co.sentinels {
				question = "ROLE" // a demoted master lives on, and is behind
			}
			if err := rc.send(streamReply, question); err != nil {
				return err
			}
			continue
		}
		if err := rc.conn.SetReadDeadline(time.Now().Add(streamPing)); err != nil {
			return err
		}
		message, err := rc.read()
		if err != nil {
			return err
		}
		asked = false
		if err := s.take(message); err != nil {
			return err
		}
	}
}

// take acts on one message.
func (s *stream) take(message any) error {
	var parts []any
	switch message := message.(type) {
	case respPush:
		parts = message
	case []any:
		parts = message
	case respError:
		return fmt.Errorf("invalidation stream: %w", message)
	}
	if len(parts) == 0 {
		return nil // a PONG
	}
	switch parts[0] {
	case "invalidate":
		if len(parts) < 2 || parts[1] == nil {
			s.co.dropAll() // FLUSHALL and FLUSHDB
			return nil
		}
		keys, _ := parts[1].([]any)
		for _, key := range keys {
			if key, ok := key.(string); ok {
				s.co.invalidate(key)
			}
		}
	case "subscribe":
		s.co.streamUp(s, false)
	case "message":
		if len(parts) == 3 && parts[1] == channel {
			if key, ok := parts[2].(string); ok && key != "" {
				s.co.invalidate(key)
			} else {
				s.co.dropAll()
			}
		}
	case "slave":
		return errDemoted
	}
	return nil
}

// open makes one guarded connection, or fails.
func (d *dialer) open(ctx context.Context, addr string) (net.Conn, error) {
	network := "tcp"
	if d.network == "unix" {
		network, addr = "unix", d.addr
	}
	ctx, cancel := context.WithTimeout(ctx, min(d.total, streamReply))
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil && d.tls != nil && network != "unix" {
		conn, err = d.secure(ctx, network, addr, conn)
	}
	if err != nil {
		return nil, err
	}
	return newGuardConn(conn, d.maxReply, d.lives(addr)), nil
}

// standaloneAddr is where the one server of a configuration is.
func (c Config) standaloneAddr() string {
	if c.URL != "" {
		t, _ := parseURL(c.URL) // validated
		return t.addr
	}
	return net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
}
