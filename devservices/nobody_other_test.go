//go:build !unix

package devservices_test

import (
	"os/exec"
	"testing"
)

func asNobody(t *testing.T) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	t.Skip("no servers on this system")
	return nil, ""
}
