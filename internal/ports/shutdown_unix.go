//go:build unix

package ports

import "syscall"

// shutdown needs no error: where a listener cannot be shut down, closing it has to do.
func shutdown(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) }
