package pgpool

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A stmt is a statement of a prefix.
type stmt struct {
	sql  string
	name string   // to be prepared under, once per connection; "" parses it each time
	args []string // text parameters
	want bool     // its one row is the answer of the prefix
	late bool     // only to be prepared: others execute it
}

// A prefix holds statements that are sent in front of the connection's next
// message, whatever that is: a query, a batch, a COPY, the preparation of a
// statement. So BEGIN costs no round trip.
//
// They go as Parse, Bind and Execute without a Sync of their own. If one of
// them fails, the server therefore skips everything up to the Sync of the
// message behind: a statement never runs outside of the transaction that it
// was meant for.
type prefix struct {
	wire  *wire
	queue []stmt

	mu        sync.Mutex // reads may happen on another goroutine
	filtering atomic.Bool
	expect    []stmt // whose replies are still to come
	parsing   []string
	simple    bool     // the message behind is a simple query, which has no Sync
	in, out   []byte   // received, and to be passed on
	answer    []byte   // the row of the statement that wants one, undecoded
	prepared  []string // names that exist on the connection
	buf       []byte
}

var errFilter = errors.New("pgpool: unexpected reply of the server to BEGIN")

func (p *prefix) pending() bool { return len(p.queue) > 0 }

// add queues a statement and returns its position, for truncate.
func (p *prefix) add(s stmt) int {
	p.queue = append(p.queue, s)
	return len(p.queue) - 1
}

// truncate takes back what was queued at position i and after.
func (p *prefix) truncate(i int) { p.queue = p.queue[:min(i, len(p.queue))] }

// drop forgets what was queued.
func (p *prefix) drop() { p.queue = p.queue[:0] }

// reset forgets what was queued and answered.
func (p *prefix) reset() {
	p.drop()
	p.mu.Lock()
	p.answer = p.answer[:0]
	p.mu.Unlock()
}

// has reports whether a statement is prepared on the connection.
func (p *prefix) has(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.prepared, name)
}

// row returns the answer, or nil. It is rarely needed, and so decoded late.
func (p *prefix) row() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var row pgproto3.DataRow
	if len(p.answer) == 0 || row.Decode(p.answer) != nil {
		return nil
	}
	values := make([]string, len(row.Values))
	for i, v := range row.Values {
		values[i] = string(v)
	}
	return values
}

// write sends the queue and b in one packet.
func (p *prefix) write(b []byte) (int, error) {
	p.mu.Lock()
	buf := p.buf[:0]
	for _, s := range p.queue {
		if buf = p.encode(buf, s); !s.late {
			p.expect = append(p.expect, s)
		}
	}
	p.simple = b[0] == 'Q'
	p.queue = p.queue[:0]
	p.filtering.Store(true)
	p.mu.Unlock()

	head := len(buf)
	buf = append(buf, b...)
	if cap(buf) <= 4096 {
		p.buf = buf
	}
	n, err := p.wire.Conn.Write(buf)
	if n > 0 {
		p.wire.runs.Add(1)
	}
	return max(n-head, 0), err
}

func (p *prefix) encode(buf []byte, s stmt) []byte {
	if s.name == "" || !slices.Contains(p.prepared, s.name) {
		parse := pgproto3.Parse{Name: s.name, Query: s.sql}
		buf, _ = parse.Encode(buf)
		p.parsing = append(p.parsing, s.name)
	}
	if s.late {
		return buf
	}
	bind := pgproto3.Bind{PreparedStatement: s.name}
	for _, arg := range s.args {
		bind.Parameters = append(bind.Parameters, []byte(arg))
	}
	buf, _ = bind.Encode(buf)
	execute := pgproto3.Execute{}
	buf, _ = execute.Encode(buf)
	return buf
}

// feed takes what was received before the filter was noticed.
func (p *prefix) feed(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.in = append(p.in, b...)
}

// read returns what is meant for pgx, receiving as much as that takes.
func (p *prefix) read(b []byte) (int, error) {
	for {
		p.mu.Lock()
		err := p.parse()
		if len(p.out) > 0 {
			n := copy(b, p.out)
			p.out = p.out[:copy(p.out, p.out[n:])]
			if len(p.out) == 0 && len(p.expect) == 0 {
				p.filtering.Store(false)
			}
			p.mu.Unlock()
			return n, nil
		}
		p.mu.Unlock()
		if err != nil {
			return 0, err
		}
		// b is as good a place to receive into as any.
		n, err := p.wire.Conn.Read(b)
		if n == 0 {
			return 0, err
		}
		p.feed(b[:n])
	}
}

// parse moves messages from in to out, without those that reply to the prefix.
func (p *prefix) parse() error {
	for len(p.expect) > 0 && len(p.in) >= 5 {
		size := 1 + int(binary.BigEndian.Uint32(p.in[1:]))
		if size < 5 || size > 1<<20 {
			return errFilter
		}
		if len(p.in) < size {
			return nil
		}
		if err := p.message(p.in[0], p.in[:size]); err != nil {
			return err
		}
		p.in = p.in[:copy(p.in, p.in[size:])]
	}
	if len(p.expect) == 0 {
		p.out = append(p.out, p.in...)
		p.in = p.in[:0]
	}
	return nil
}

func (p *prefix) message(kind byte, msg []byte) error {
	switch kind {
	case '1': // ParseComplete
		if len(p.parsing) > 0 {
			if name := p.parsing[0]; name != "" {
				p.prepared = append(p.prepared, name)
			}
			p.parsing = slices.Delete(p.parsing, 0, 1)
		}
	case '2': // BindComplete
	case 'D': // DataRow
		if p.expect[0].want {
			p.answer = append(p.answer[:0], msg[5:]...)
		}
	case 'C': // CommandComplete
		p.expect = slices.Delete(p.expect, 0, 1)
	case 'E': // ErrorResponse: for pgx, as the reply to the message behind
		p.out = append(p.out, msg...)
		p.expect = p.expect[:0]
		p.parsing = p.parsing[:0]
		var reply pgproto3.ErrorResponse
		if reply.Decode(msg[5:]) == nil && reply.Code == "26000" {
			p.prepared = p.prepared[:0] // the server has forgotten the names (DISCARD ALL)
		}
		if p.simple {
			sync := pgproto3.Sync{}
			buf, _ := sync.Encode(nil)
			if _, err := p.wire.Conn.Write(buf); err != nil {
				return err
			}
		}
	case 'N', 'S', 'A': // notice, parameter, notification: not ours
		p.out = append(p.out, msg...)
	default:
		return errFilter
	}
	return nil
}
