package cases

import (
	"log/slog"
	"slices"

	"github.com/pedro-go/pedro/bench/harness"
)

var quiet = slog.New(slog.DiscardHandler)

// All returns every case, in the order of the report.
func (s *Servers) All() []harness.Case {
	return slices.Concat(s.Postgres(), s.Cache(), s.Session(), s.Growth(), s.Start(), Lifecycle(), Health())
}
