package lifecycle

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"
)

// listen makes a listener for an address: host and port, or "unix:" and a path.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	path, isUnix := strings.CutPrefix(addr, "unix:")
	if !isUnix {
		return lc.Listen(ctx, "tcp", addr)
	}
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil && abandoned(ctx, path) {
		// A process that was killed leaves its socket's file behind.
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return lc.Listen(ctx, "unix", path)
	}
	return ln, err
}

// abandoned reports whether path is a socket on which nobody listens.
func abandoned(ctx context.Context, path string) bool {
	info, err := os.Stat(path)
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return false
	}
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
		return false
	}
	return errors.Is(err, errRefused)
}

// trackingListener enters the connections that it accepts in a ledger.
type trackingListener struct {
	net.Listener
	ledger *ledger
}

// Accept implements net.Listener.
func (l *trackingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.ledger.add(conn), nil
}
