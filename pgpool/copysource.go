package pgpool

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/jackc/pgx/v5"
)

var errNilSource = errors.New("pgpool: copy: the source of the rows is nil")

// A copySource is the caller's source of a CopyFrom. pgx asks it on a goroutine of
// its own, on which a panic would end the process and runtime.Goexit would leave
// the caller waiting for ever: both are brought to the caller's. And it keeps
// the source's error, of which pgx sends the server the text only.
type copySource struct {
	pgx.CopyFromSource

	wire     *wire
	err      error
	panicked any
	exited   bool
}

// Next implements pgx.CopyFromSource.
func (s *copySource) Next() (ok bool) {
	returned := false
	defer s.catch(&returned, nil)
	ok = s.CopyFromSource.Next()
	returned = true
	return ok
}

// Values implements pgx.CopyFromSource.
func (s *copySource) Values() (values []any, err error) {
	returned := false
	defer s.catch(&returned, &err)
	values, err = s.CopyFromSource.Values()
	returned = true
	if err != nil {
		s.err = err
	}
	return values, err
}

// Err implements pgx.CopyFromSource.
func (s *copySource) Err() (err error) {
	if s.panicked != nil {
		return errSourceCut
	}
	returned := false
	defer s.catch(&returned, &err)
	err = s.CopyFromSource.Err()
	returned = true
	if err != nil {
		s.err = err
	}
	return err
}

// catch keeps what ended the source. pgx does not notice that its goroutine ends,
// but that the connection does.
func (s *copySource) catch(returned *bool, err *error) {
	if *returned {
		return
	}
	if err != nil {
		*err = errSourceCut
	}
	if s.panicked = recover(); s.panicked == nil {
		s.exited = true
		_ = s.wire.Conn.Close()
	}
}

// outcome is that of the CopyFrom, for its caller.
func (s *copySource) outcome(err error) error {
	switch {
	case s.panicked != nil:
		panic(s.panicked)
	case s.exited:
		runtime.Goexit()
	case err != nil && s.err != nil:
		return fmt.Errorf("pgpool: copy: %w (%w)", s.err, err)
	}
	return err
}
