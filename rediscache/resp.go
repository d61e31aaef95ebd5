package rediscache

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// A respConn speaks the little of Redis' protocol that the invalidation stream
// needs. go-redis keeps its connections for request and reply; a stream wants
// one that only listens. Lengths are bounded by the guardConn below it.
type respConn struct {
	conn net.Conn
	r    *bufio.Reader
}

// respError is an error reply.
type respError string

func (e respError) Error() string { return string(e) }

// respPush is an out-of-band message.
type respPush []any

func newRespConn(conn net.Conn) *respConn {
	return &respConn{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
}

// send writes one command.
func (c *respConn) send(limit time.Duration, args ...string) error {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// do sends one command and returns its reply; pushes before it are dropped. An
// error reply is an error.
func (c *respConn) do(limit time.Duration, args ...string) (any, error) {
	if err := c.send(limit, args...); err != nil {
		return nil, err
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	for {
		reply, err := c.read()
		if err != nil {
			return nil, err
		}
		switch reply := reply.(type) {
		case respPush:
			continue
		case respError:
			return nil, reply
		}
		return reply, nil
	}
}

// waiting reports whether a reply or push begins to arrive within limit.
func (c *respConn) waiting(limit time.Duration) (bool, error) {
	if c.r.Buffered() > 0 {
		return true, nil
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return false, err
	}
	_, err := c.r.Peek(1)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return false, nil
	}
	return err == nil, err
}

var errProtocol = errors.New("not a reply of Redis")

// read reads one reply: nil, a string, an int64, a []any, a respError or a
// respPush. Maps become flat lists.
func (c *respConn) read() (any, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, errProtocol
		}
		return nil, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, errProtocol
	}
	kind, rest := line[0], string(line[1:len(line)-2])
	switch kind {
	case '+', ',', '(', '#':
		return rest, nil
	case '-':
		return respError(rest), nil
	case '_':
		return nil, nil
	case ':':
		return strconv.ParseInt(rest, 10, 64)
	}
	n, err := strconv.Atoi(rest)
	if err != nil {
		return nil, errProtocol
	}
	switch kind {
	case '$', '=', '!':
		if n < 0 {
			return nil, nil
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return nil, err
		}
		if kind == '!' {
			return respError(b[:n]), nil
		}
		return string(b[:n]), nil
	case '*', '~', '>', '%':
		if n < 0 {
			return nil, nil
		}
		if kind == '%' {
			n *= 2
		}
		list := make([]any, n)
		for i := range list {
			if list[i], err = c.read(); err != nil {
				return nil, err
			}
		}
		if kind == '>' {
			return respPush(list), nil
		}
		return list, nil
	}
	return nil, errProtocol
}
