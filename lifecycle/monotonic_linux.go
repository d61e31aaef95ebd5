package lifecycle

import (
	"syscall"
	"time"
	"unsafe"
)

// monotonic returns CLOCK_MONOTONIC, by which systemd orders a reload. Go has
// the clock, but gives it to nobody.
func monotonic() time.Duration {
	const clockMonotonic = 1
	var ts syscall.Timespec
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&ts)), 0) //nolint:gosec // ts lives until the call returns
	if errno != 0 {
		return 0
	}
	return time.Duration(ts.Nano())
}
