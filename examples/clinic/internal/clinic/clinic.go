// Package clinic is what the service is about: patients, their appointments,
// and the people who book them. It knows the pool and the cache, and nothing of
// HTTP.
package clinic

import (
	"errors"
	"fmt"
	"time"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
)

// Errors that the callers act on.
var (
	ErrNotFound = errors.New("clinic: not found")
	ErrTaken    = errors.New("clinic: the slot is taken")
	ErrExists   = errors.New("clinic: a patient with this email exists")
	ErrLogin    = errors.New("clinic: wrong name or password")
)

// A ProblemError is a mistake in what somebody entered, in words for them.
type ProblemError struct {
	Field   string // of the form, "" if there is none
	Line    int    // of a file, counted from 1; 0 if there is none
	Problem string
}

// Error implements error.
func (e *ProblemError) Error() string {
	switch {
	case e.Line > 0 && e.Field != "":
		return fmt.Sprintf("line %d, %s: %s", e.Line, e.Field, e.Problem)
	case e.Line > 0:
		return fmt.Sprintf("line %d: %s", e.Line, e.Problem)
	case e.Field != "":
		return e.Field + ": " + e.Problem
	default:
		return e.Problem
	}
}

// A Service is the clinic. Its methods are safe for concurrent use.
type Service struct {
	db       *pgpool.Pool
	patients *rediscache.Namespace[Patient]
}

// New returns a Service on a pool and a cache, which stay the caller's.
func New(db *pgpool.Pool, cache *rediscache.Cache) *Service {
	return &Service{
		db: db,
		patients: rediscache.Of[Patient](cache, "patient",
			rediscache.TTL(10*time.Minute),
			rediscache.NegativeTTL(30*time.Second),   // asking for a patient that is not there
			rediscache.StaleOnError(10*time.Minute)), // while the database is away
	}
}
