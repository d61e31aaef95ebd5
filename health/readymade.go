package health

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors of the ready-made checks, as warnings.
var (
	// ErrSaturated says that a pool is in full use, and callers wait.
	ErrSaturated = errors.New("saturated")

	// ErrFallback says that a component works without what it should work with.
	ErrFallback = errors.New("on fallback")
)

// Pool returns a check of a connection pool. A pool that is in full use, with
// callers waiting, is a warning and not a failure: the server is there, and a
// ping would only queue behind the callers, or take a connection from them.
// Otherwise the check is ping's result. usage must not block.
//
//	checks.Add("postgres", health.Pool(pool.Ping, func() (inUse, limit, waiting int) {
//		s := pool.Stats()
//		return int(s.AcquiredConns), int(s.MaxConns), int(s.Waiting)
//	}))
func Pool(ping func(context.Context) error, usage func() (inUse, limit, waiting int)) func(context.Context) error {
	return func(ctx context.Context) error {
		inUse, limit, waiting := usage()
		if limit > 0 && inUse >= limit && waiting > 0 {
			return Degraded(fmt.Errorf("%w: %d of %d in use, %d waiting", ErrSaturated, inUse, limit, waiting))
		}
		return ping(ctx)
	}
}

// Fallback returns a check of a component that can do without its dependency
// for a while, such as sessions in memory. While since returns a time that is
// not zero, it warns, and says for how long. since must not block.
func Fallback(since func() time.Time) func(context.Context) error {
	return func(context.Context) error {
		if t := since(); !t.IsZero() {
			return Degraded(fmt.Errorf("%w since %s", ErrFallback, t.UTC().Format(time.RFC3339)))
		}
		return nil
	}
}
