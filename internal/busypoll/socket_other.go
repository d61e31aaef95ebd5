//go:build !unix

package busypoll

import "net"

// A socket cannot be looked at here.
type socket struct{}

func (socket) init(net.Conn) bool { return false }

func (socket) look([]byte) (n int, ok bool, err error) { return 0, false, nil }
