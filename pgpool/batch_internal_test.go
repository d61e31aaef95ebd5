package pgpool

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestOnlyDataIsARowsFault: a server that was shut down in the middle of row 3
// once told the clinic's users that line 5 of their file could not be stored.
func TestOnlyDataIsARowsFault(t *testing.T) {
	t.Parallel()
	var b batch
	for code, want := range map[string]bool{
		"22003": true, "23505": true, "44000": true, "P0001": true,
		"57P01": false, "57P02": false, "40001": false, "53100": false, "25006": false, "42P01": false, "XX000": false, "": false,
	} {
		err := b.explain(&pgconn.PgError{Code: code}, 3)
		if _, got := errors.AsType[*RowError](err); got != want {
			t.Errorf("code %q is a row's fault: %v, want %v", code, got, want)
		}
	}
}
