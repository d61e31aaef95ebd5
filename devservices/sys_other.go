//go:build !unix

package devservices

import (
	"errors"
	"os"
	"syscall"
)

// The package builds on these systems, so that programs which import it do. Nothing can be started there.
const (
	sigStop     = syscall.Signal(0)
	sigContinue = syscall.Signal(0)
	sigUser1    = syscall.Signal(0)
)

func sendSignal(int, syscall.Signal) error                     { return errors.ErrUnsupported }
func exists(int) bool                                          { return false }
func isOurs(os.FileInfo) bool                                  { return true }
func freeBytes(string) uint64                                  { return 0 }
func setDeathSignal(*syscall.SysProcAttr, syscall.Signal)      {}
func ownGroup() *syscall.SysProcAttr                           { return nil }
func serverAttr(*account, syscall.Signal) *syscall.SysProcAttr { return nil }
