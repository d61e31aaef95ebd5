package devservices

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// respConn is the least Redis client that can ask whether a server is ready and order a cluster about. A real client
// pool would answer from memory after a few refusals and make every start a second longer.
type respConn struct {
	conn net.Conn
	r    *bufio.Reader
}

// redisError is an error reply.
type redisError string

func (e redisError) Error() string { return string(e) }

// respTimeout bounds one exchange: a paused server must not hang those who ask.
const respTimeout = 2 * time.Second

func (r *Redis) dial(ctx context.Context) (*respConn, error) {
	d := &net.Dialer{Timeout: respTimeout}
	var (
		conn net.Conn
		err  error
	)
	if r.opts.tls != nil {
		conn, err = (&tls.Dialer{NetDialer: d, Config: r.opts.tls.probeConfig()}).DialContext(ctx, "tcp", r.Addr())
	} else {
		conn, err = d.DialContext(ctx, "tcp", r.Addr())
	}
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(respTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &respConn{conn, bufio.NewReader(conn)}, nil
}

func (c *respConn) close() { _ = c.conn.Close() }

func (c *respConn) do(args ...string) (any, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(c.conn, b.String()); err != nil {
		return nil, err
	}
	return c.read()
}

func (c *respConn) read() (any, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, errors.New("empty reply")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, redisError(rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("reply %q: %w", line, err)
	}
	switch {
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case kind == '$':
		body := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, body); err != nil {
			return nil, err
		}
		return string(body[:n]), nil
	case kind == '*':
		list := make([]any, 0, n)
		for range n {
			item, err := c.read()
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	default:
		return nil, fmt.Errorf("reply of unknown kind %q", line)
	}
}
