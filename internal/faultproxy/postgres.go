package faultproxy

import (
	"bytes"
	"encoding/binary"
	"sync"
)

// Postgres announces PostgreSQL's protocol: hooks see its messages one by one. Once a connection has switched to TLS
// they see pieces of ciphertext, so tests that hook messages use sslmode=disable.
func Postgres() Option {
	return func(p *Proxy) {
		p.proto = func() protocol { return &pgProtocol{statements: map[string]string{}, portals: map[string]string{}} }
	}
}

// Codes that stand where a start-up packet has its protocol version
// (https://www.postgresql.org/docs/current/protocol-message-formats.html).
const (
	pgCancel = 80877102
	pgTLS    = 80877103
	pgGSS    = 80877104
)

// maxMessage is the longest message that is put together before it is judged; longer ones are passed on in pieces. It is
// PostgreSQL's own limit for what a client may send.
const maxMessage = 1 << 30

// pgProtocol follows one connection:
//
//	starting --TLS or GSS request--> asked --'S' or 'G'--> opaque
//	   |  ^---------------- 'N' -------'
//	   '--start-up packet--> typed
type pgProtocol struct {
	mu         sync.Mutex
	state      pgState
	statements map[string]string // SQL by name of the prepared statement
	portals    map[string]string // SQL by name of the portal
}

type pgState int

const (
	pgStarting pgState = iota
	pgAsked
	pgTyped
	pgOpaque
)

func (c *pgProtocol) next(dir Direction, buf []byte) (Message, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == pgOpaque:
		return Message{}, len(buf)
	case c.state == pgAsked && dir == ToClient:
		return c.answer(buf)
	case c.state == pgTyped || dir == ToClient: // a server that refuses at once sends a typed error
		return c.typed(dir, buf)
	default:
		return c.startup(buf)
	}
}

// answer is the single byte by which a server takes or refuses TLS or GSS encryption.
func (c *pgProtocol) answer(buf []byte) (Message, int) {
	c.state = pgStarting
	if buf[0] == 'S' || buf[0] == 'G' {
		c.state = pgOpaque
	}
	return Message{}, 1
}

func (c *pgProtocol) startup(buf []byte) (Message, int) {
	if len(buf) < 8 {
		return Message{}, 0
	}
	length := binary.BigEndian.Uint32(buf)
	if length < 8 || length > maxMessage {
		c.state = pgOpaque
		return Message{}, len(buf)
	}
	if uint64(len(buf)) < uint64(length) {
		return Message{}, 0
	}
	switch binary.BigEndian.Uint32(buf[4:]) {
	case pgTLS, pgGSS:
		c.state = pgAsked
	case pgCancel:
	default:
		c.state = pgTyped
	}
	return Message{}, int(length)
}

// typed is everything after the start: a type, a length that counts itself, a body.
func (c *pgProtocol) typed(dir Direction, buf []byte) (Message, int) {
	if len(buf) < 5 {
		return Message{}, 0
	}
	length := binary.BigEndian.Uint32(buf[1:])
	if length < 4 || length > maxMessage {
		c.state = pgOpaque
		return Message{}, len(buf)
	}
	whole := int(length) + 1
	if len(buf) < whole {
		return Message{}, 0
	}
	m := Message{Type: buf[0]}
	if dir == ToServer {
		m.SQL = c.statement(m.Type, buf[5:whole])
	} else {
		m.Tag, m.Code = outcome(m.Type, buf[5:whole])
	}
	return m, whole
}

// statement is the SQL that a client's message is about.
func (c *pgProtocol) statement(kind byte, body []byte) string {
	first, rest := cString(body)
	switch kind {
	case 'Q':
		return first
	case 'P':
		sql, _ := cString(rest)
		c.statements[first] = sql
		return sql
	case 'B':
		name, _ := cString(rest)
		c.portals[first] = c.statements[name]
		return c.statements[name]
	case 'E':
		return c.portals[first]
	default:
		return ""
	}
}

// outcome is what a server's message says of a command.
func outcome(kind byte, body []byte) (tag, code string) {
	switch kind {
	case 'C':
		tag, _ = cString(body)
	case 'E', 'N':
		for len(body) > 1 { // fields: a letter and a text each
			field := body[0]
			text, rest := cString(body[1:])
			if field == 'C' {
				code = text
			}
			body = rest
		}
	}
	return tag, code
}

// cString is the text up to the first zero byte, and what follows it.
func cString(b []byte) (text string, rest []byte) {
	before, after, _ := bytes.Cut(b, []byte{0})
	return string(before), after
}
