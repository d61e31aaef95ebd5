package faultproxy

import (
	"bytes"
	"strconv"
	"sync"
)

// Redis announces Redis's protocol, RESP2 or RESP3 without TLS: hooks see commands and replies one by one. Replies are
// matched to commands by their order, which holds unless the connection subscribes to channels in RESP2.
func Redis() Option {
	return func(p *Proxy) { p.proto = func() protocol { return &respProtocol{} } }
}

type respProtocol struct {
	mu      sync.Mutex
	waiting [][]string // commands without their reply yet
}

func (c *respProtocol) next(dir Direction, buf []byte) (Message, int) {
	n, ok := respLength(buf)
	if !ok {
		return Message{}, len(buf)
	}
	if n == 0 {
		return Message{}, 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if dir == ToServer {
		args := respArgs(buf[:n])
		c.waiting = append(c.waiting, args)
		return Message{Args: args}, n
	}
	if buf[0] == '>' || len(c.waiting) == 0 {
		return Message{}, n
	}
	args := c.waiting[0]
	c.waiting = c.waiting[1:]
	return Message{Args: args}, n
}

// respLength is the length of the value that buf begins with, 0 if it is not complete. It is not ok if buf is no RESP.
func respLength(buf []byte) (n int, ok bool) {
	end := bytes.Index(buf, []byte("\r\n"))
	if end < 0 {
		return 0, len(buf) < 64<<10 // no line is that long
	}
	head := end + 2
	switch buf[0] {
	case '+', '-', ':', '_', ',', '#', '(':
		return head, true
	case '$', '!', '=', '*', '~', '>', '%', '|':
	default:
		return head, 'A' <= buf[0]&^0x20 && buf[0]&^0x20 <= 'Z' // a command typed by hand
	}
	count, err := strconv.Atoi(string(buf[1:end]))
	if err != nil || count > maxMessage {
		return 0, false
	}
	if count < 0 {
		return head, true // RESP2's null
	}
	switch buf[0] {
	case '$', '!', '=':
		if whole := head + count + 2; len(buf) >= whole {
			return whole, true
		}
		return 0, true
	case '%':
		count *= 2
	case '|':
		count = 2*count + 1 // attributes belong to the value that follows them
	}
	n = head
	for range count {
		if n >= len(buf) {
			return 0, true
		}
		length, ok := respLength(buf[n:])
		if length == 0 || !ok {
			return 0, ok
		}
		n += length
	}
	return n, true
}

// respArgs are the words of a command, which is an array of strings.
func respArgs(buf []byte) []string {
	if buf[0] != '*' {
		var args []string
		for f := range bytes.FieldsSeq(buf) {
			args = append(args, string(f))
		}
		return args
	}
	var args []string
	_, buf, _ = bytes.Cut(buf, []byte("\r\n"))
	for len(buf) > 0 {
		head, rest, _ := bytes.Cut(buf, []byte("\r\n"))
		n, err := strconv.Atoi(string(head[1:]))
		if err != nil || n < 0 || n+2 > len(rest) {
			return args
		}
		args = append(args, string(rest[:n]))
		buf = rest[n+2:]
	}
	return args
}
