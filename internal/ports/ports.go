// Package ports reserves TCP ports on loopback for servers that a test starts, kills and starts again on the same port.
//
// "Listen on port 0, close, hand the number to the server" loses its port to somebody else in about one start of ten
// when several test binaries run at once. Here a port is held by a file lock for as long as its [Port] is, so that
// processes which use this package never meet, and it lies below the range from which the kernel serves outgoing
// connections: otherwise such a connection can take the port of a server that is down for a moment.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pedro-go/pedro/internal/filelock"
)

// The range ends below 32768, where Linux begins its outgoing connections; macOS and the BSDs begin at 49152.
const (
	lowest  = 20000
	highest = 31999
)

// ErrNoPort is returned when no port of the range is free.
var ErrNoPort = errors.New("ports: no free port on loopback")

// Port is a reserved port. Its methods are safe for concurrent use.
type Port struct {
	number int
	lock   *os.File
}

// Reserve finds a port that nobody listens on and keeps it for this process until [Port.Release].
func Reserve() (*Port, error) {
	low, high := portRange()
	size := high - low + 1
	first := rand.IntN(size) //nolint:gosec // only to be unlike others
	for i := range size {
		p, err := reserve(low + (first+i)%size)
		if err != nil {
			return nil, err
		}
		if p != nil {
			return p, nil
		}
	}
	return nil, ErrNoPort
}

// ReservePair reserves a port and the one offset above it, as Redis before version 7 needs for its cluster bus.
func ReservePair(offset int) (*Port, *Port, error) {
	low, high := portRange()
	size := high - offset - low + 1
	if size <= 0 {
		return nil, nil, ErrNoPort
	}
	first := rand.IntN(size) //nolint:gosec // only to be unlike others
	for i := range size {
		number := low + (first+i)%size
		p, err := reserve(number)
		if err != nil {
			return nil, nil, err
		}
		if p == nil {
			continue
		}
		q, err := reserve(number + offset)
		if err != nil {
			p.Release()
			return nil, nil, err
		}
		if q != nil {
			return p, q, nil
		}
		p.Release()
	}
	return nil, nil, ErrNoPort
}

// Number is the port's number.
func (p *Port) Number() int { return p.number }

// Addr is the port's address on loopback, "127.0.0.1:20000".
func (p *Port) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.number)) }

// Listen listens on the port. [Close] is how to close what it returns.
func (p *Port) Listen() (*net.TCPListener, error) {
	return net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p.number})
}

// Release gives the port up. A second call does nothing.
func (p *Port) Release() { _ = p.lock.Close() }

// Close closes a listener whose port will be listened on again, perhaps at once. A process that is just being started has,
// until it runs its own program, all open files of this one, and a listener in it would go on listening; so it is shut
// down first, which Linux does for all its holders.
func Close(l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Control(shutdown); err != nil {
		return err
	}
	return l.Close()
}

// reserve returns nil and no error if somebody else has the port.
func reserve(number int) (*Port, error) {
	dir := filepath.Join(os.TempDir(), "pedro-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("ports: %w", err)
	}
	lock, err := filelock.TryLock(filepath.Join(dir, strconv.Itoa(number)))
	if errors.Is(err, filelock.ErrLocked) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ports: %w", err)
	}
	p := &Port{number: number, lock: lock}
	// The lock keeps out those who use this package; listening shows who does not.
	l, err := p.Listen()
	if err != nil {
		p.Release()
		return nil, nil //nolint:nilerr // taken by a stranger: the next port may be free
	}
	if err := Close(l); err != nil {
		p.Release()
		return nil, fmt.Errorf("ports: %w", err)
	}
	return p, nil
}

// portRange is the fixed range, cut where this system begins with outgoing connections if that is earlier.
func portRange() (low, high int) {
	low, high = lowest, highest
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return low, high // not Linux
	}
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return low, high
	}
	begin, err := strconv.Atoi(fields[0])
	if err != nil || begin > high {
		return low, high
	}
	if begin > low+1000 {
		return low, begin - 1
	}
	if begin > 10000 {
		return begin - 5000, begin - 1
	}
	return low, high // nearly everything is for outgoing connections here: the lock has to do
}
