package lifecycle_test

import (
	"log/slog"
	"os"
	"testing"

	"github.com/pedro-go/pedro/internal/leakcheck"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(runChild(role))
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	leakcheck.Main(m)
}
