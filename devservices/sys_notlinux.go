//go:build unix && !linux

package devservices

import "syscall"

// setDeathSignal does nothing: only Linux tells a child of its parent's death, elsewhere the watchdog does it alone.
func setDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}

// freeBytes is 0: there is no memory file system to look for.
func freeBytes(string) uint64 { return 0 }
