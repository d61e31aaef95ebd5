package devservices_test

import (
	"os"
	"testing"

	"github.com/pedro-go/pedro/internal/leakcheck"
)

func TestMain(m *testing.M) {
	if victim := os.Getenv("DEVSERVICES_VICTIM"); victim != "" {
		beVictim(victim)
		return
	}
	leakcheck.Main(m)
}
