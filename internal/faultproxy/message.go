package faultproxy

import "strings"

// Direction is where data goes.
type Direction int

const (
	// ToServer is from the client to the server.
	ToServer Direction = iota
	// ToClient is from the server to the client.
	ToClient
)

// String is "to server" or "to client".
func (d Direction) String() string {
	if d == ToServer {
		return "to server"
	}
	return "to client"
}

// Verdict is what becomes of a message.
type Verdict int

const (
	// Pass hands it on.
	Pass Verdict = iota
	// Drop loses it, and the connection goes on: only sensible at the level of messages.
	Drop
	// Cut loses it and resets the connection on both sides, after what came before it has been handed on.
	Cut
	// PassThenCut cuts the sender off by a reset and hands the message on, so that no answer to it can come through; the
	// receiver sees an orderly end after it.
	PassThenCut
	// Stall loses it and everything after it in this direction, while the connection stays open.
	Stall
)

// Message is a piece of a connection's data in one direction: a whole message with [Postgres] and [Redis], else whatever
// arrived at once.
type Message struct {
	Link int       // number of the connection, counted from 1
	Dir  Direction // where it goes
	Data []byte    // all its bytes; a hook may change or replace them, and must not keep them

	// With Postgres.

	Type byte   // the message type, 0 for start-up packets, which have none
	SQL  string // ToServer: the statement that Query, Parse, Bind or Execute is about
	Tag  string // ToClient: of CommandComplete, such as "INSERT 0 1"
	Code string // ToClient: SQLSTATE of ErrorResponse and NoticeResponse

	// With Redis.

	Args []string // the command, or the command that this is the reply to; nil for pushed messages
}

// Executes reports whether the message makes a PostgreSQL server run this statement, by either protocol. Case, blanks around it and
// a semicolon at the end do not matter.
func (m *Message) Executes(sql string) bool {
	return m.Dir == ToServer && (m.Type == 'Q' || m.Type == 'E') && strings.EqualFold(strings.Trim(m.SQL, "; \t\r\n"), sql)
}

// Completes reports whether the message is a PostgreSQL server's word that a command with this tag, such as "COMMIT", was
// carried out.
func (m *Message) Completes(tag string) bool {
	return m.Dir == ToClient && m.Type == 'C' && m.Tag == tag
}

// Commands reports whether the message is this Redis command, such as "SET".
func (m *Message) Commands(name string) bool { return m.Dir == ToServer && m.about(name) }

// Replies reports whether the message is the reply to this Redis command.
func (m *Message) Replies(name string) bool { return m.Dir == ToClient && m.about(name) }

func (m *Message) about(name string) bool {
	return len(m.Args) > 0 && strings.EqualFold(m.Args[0], name)
}

// protocol cuts a connection's streams into messages. It is called from both directions at once.
type protocol interface {
	// next describes the message that buf begins with, and how long it is; 0 if it is not complete yet. Whoever cannot
	// make sense of buf says that it is all one message.
	next(dir Direction, buf []byte) (m Message, length int)
}

// raw takes everything for one message.
type raw struct{}

func (raw) next(_ Direction, buf []byte) (Message, int) { return Message{}, len(buf) }
