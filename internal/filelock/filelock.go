// Package filelock locks files between processes with flock(2).
//
// A lock belongs to the open file, so it ends with the process that holds it, however that process ends, and two
// holders inside one process exclude each other as well. Files are never removed: unlinking a lock file lets two
// processes hold "the same" lock.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// ErrLocked is returned by [TryLock] while somebody else holds the lock.
var ErrLocked = errors.New("filelock: held by another")

// retryEvery is how often [Lock] looks again: flock(2) cannot wait for a context.
const retryEvery = 10 * time.Millisecond

// TryLock opens path, creating it if need be, and locks it exclusively. It does not wait: if the lock is taken it
// returns [ErrLocked]. Closing the file releases the lock. On systems without flock(2) it locks nothing.
func TryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the caller chooses
	if err != nil {
		return nil, fmt.Errorf("filelock: %w", err)
	}
	if err := flock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Lock is [TryLock] that waits until the lock is free or ctx is done.
func Lock(ctx context.Context, path string) (*os.File, error) {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		f, err := TryLock(path)
		if !errors.Is(err, ErrLocked) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("filelock: %s: %w", path, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
