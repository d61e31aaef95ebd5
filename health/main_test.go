package health_test

import (
	"log/slog"
	"testing"

	"github.com/pedro-go/pedro/internal/leakcheck"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	leakcheck.Main(m)
}
