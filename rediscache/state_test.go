package rediscache_test

import (
	"errors"
	"testing"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// TestStateIsObserved: every change of State is told, the first one too, with
// its cause if it is for the worse.
func TestStateIsObserved(t *testing.T) {
	t.Parallel()
	server := rediscachetest.StartServer(t)
	type change struct {
		to    rediscache.State
		cause error
	}
	changes := make(chan change, 10)
	next := func(want rediscache.State) change {
		t.Helper()
		got := <-changes
		if got.to != want {
			t.Fatalf("told of %v (%v), want %v", got.to, got.cause, want)
		}
		return got
	}
	c := open(t, rediscache.Config{URL: server.URL()}, rediscache.WithStateObserver(func(to rediscache.State, cause error) {
		changes <- change{to, cause}
	}))
	if up := next(rediscache.StateUp); up.cause != nil {
		t.Errorf("told of the start with the cause %v, want none", up.cause)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for !errors.Is(c.Ping(t.Context()), rediscache.ErrUnavailable) || c.State() != rediscache.StateDown {
	}
	if down := next(rediscache.StateDown); down.cause == nil {
		t.Error("told of the loss without a cause")
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	next(rediscache.StateUp)
}
