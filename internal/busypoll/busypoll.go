// Package busypoll reads replies that are about to come without going to sleep for
// them.
//
// A goroutine that reads from a socket sleeps until something has come. To sleep and
// to be woken takes 10 to 40 µs of processor time, more on a virtual machine than on
// a real one; a server on the same machine or next to it has answered by then. So a
// Conn looks again for as long, and sleeps only then: whoever waits as long as
// sleeping costs never pays more than twice the least possible (Karlin, Li, Manasse
// and Owicki, "Empirical Studies of Competitive Spinning for a Shared-Memory
// Multiprocessor", SOSP 1991).
//
// It is for a lone request only. Where several are under way, the processor has
// other work, which the reply waits for. And a connection whose replies do not come in
// time stops looking, for twice as many replies each time: where the server is far
// away, one of 1,024 is looked for.
//
// Between two looks, other goroutines run.
package busypoll

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// limit is how long a connection is looked at for a reply.
	limit = 50 * time.Microsecond
	// rarest is the power of two of replies among which one is looked for where they
	// do not come in time.
	rarest = 10
)

// A Group is the connections to one server. Its zero value is ready, and it may be
// used by many goroutines.
type Group struct {
	under atomic.Int64 // connections that wait for the reply to a request
}

// Wrap returns conn as one of the group. A connection that is not a plain one, as it
// has TLS or was wrapped by a host, comes back as it is.
func (g *Group) Wrap(conn net.Conn) net.Conn {
	c := &Conn{Conn: conn, group: g}
	if !c.socket.init(conn) {
		return conn
	}
	return c
}

// A Conn is a connection that sends requests and reads replies. As with any
// [net.Conn] all methods may be called at any time; one goroutine at a time reads.
type Conn struct {
	net.Conn

	group *Group
	asked atomic.Bool // a request is under way

	socket socket
	misses uint   // replies in a row that were looked for and did not come in time
	skip   uint64 // replies that are not looked for
}

// Write sends a request, or a part of one.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.asked.Swap(true) {
		c.group.under.Add(1)
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		c.settle()
	}
	return n, err
}

// settle says that no request is under way any more.
func (c *Conn) settle() {
	if c.asked.Swap(false) {
		c.group.under.Add(-1)
	}
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.settle()
	return c.Conn.Close()
}

// SyscallConn gives access to the socket.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	return c.Conn.(syscall.Conn).SyscallConn()
}

// Read reads what has come, or is about to come.
func (c *Conn) Read(p []byte) (n int, err error) {
	looked := false
	if len(p) > 0 && c.alone() {
		if c.skip > 0 {
			c.skip--
		} else if n, looked, err = c.socket.look(p); looked {
			c.misses = 0
		} else {
			c.misses = min(c.misses+1, rarest)
			c.skip = 1<<c.misses - 1
		}
	}
	if !looked {
		n, err = c.Conn.Read(p)
	}
	if n > 0 {
		c.settle()
	}
	return n, err
}

// alone reports whether nobody else in the group waits for a reply.
func (c *Conn) alone() bool {
	under := c.group.under.Load()
	return under == 0 || under == 1 && c.asked.Load()
}
