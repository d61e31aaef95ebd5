package filelock_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/filelock"
)

func TestTryLockExcludesASecondHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	first, err := filelock.TryLock(path)
	if err != nil {
		t.Fatalf("TryLock: got error %v, want none", err)
	}
	if _, err := filelock.TryLock(path); !errors.Is(err, filelock.ErrLocked) {
		t.Fatalf("second TryLock: got error %v, want ErrLocked", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := filelock.TryLock(path)
	if err != nil {
		t.Fatalf("TryLock after Close: got error %v, want none", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLockWaitsForTheHolderAndForContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	held, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := filelock.Lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Lock of a held file: got error %v, want DeadlineExceeded", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = held.Close() })
	f, err := filelock.Lock(t.Context(), path)
	if err != nil {
		t.Fatalf("Lock: got error %v, want none", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
