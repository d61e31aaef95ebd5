package leakcheck_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pedro-go/pedro/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// TestLeak is both sides: run by itself it must fail, because it leaks.
func TestLeak(t *testing.T) {
	t.Parallel()
	if os.Getenv("LEAKCHECK_LEAK") != "" {
		go func() { select {} }()
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLeak$")
	cmd.Env = append(os.Environ(), "LEAKCHECK_LEAK=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("a run that leaks a goroutine passed, want it to fail")
	}
	if want := "leakcheck: 1 goroutines left"; !strings.Contains(string(out), want) {
		t.Errorf("output %q, want it to contain %q", out, want)
	}
}
