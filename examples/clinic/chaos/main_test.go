package chaos_test

import (
	"testing"

	"github.com/pedro-go/pedro/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }
