//go:build !unix

package devservices_test

import (
	"os/exec"
	"testing"
)

func asNobody(t *testing.T) *exec.Cmd {
	t.Helper()
	t.Skip("no servers on this system")
	return nil
}
