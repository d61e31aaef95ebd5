//go:build !unix

package ports

// shutdown does nothing: starting a process shares no files here.
func shutdown(uintptr) {}
