package rediscache_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
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

// TestStateObserverPanics: the goroutine is that of any caller of Redis.
func TestStateObserverPanics(t *testing.T) {
	t.Parallel()
	server := rediscachetest.StartServer(t)
	var told atomic.Int64
	c := open(t, rediscache.Config{URL: server.URL()}, rediscache.WithStateObserver(func(rediscache.State, error) {
		told.Add(1)
		panic("observer")
	}))
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "down", func() bool { return c.Ping(t.Context()) != nil && c.State() == rediscache.StateDown })
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "told of up, down and up", func() bool { return told.Load() == 3 })
}

// logTo is a log handler that calls f.
type logTo struct {
	slog.Handler
	f func(message string)
}

func (h logTo) Enabled(context.Context, slog.Level) bool { return true }

func (h logTo) Handle(_ context.Context, r slog.Record) error {
	h.f(r.Message)
	return nil
}

// TestLogHandlerUsesRedis: who keeps the log in the same Redis meets the next
// outage while it is told of the last one's end.
func TestLogHandlerUsesRedis(t *testing.T) {
	t.Parallel()
	server := rediscachetest.StartServer(t)
	var c *rediscache.Cache
	var outages atomic.Int64
	handler := logTo{slog.DiscardHandler, func(message string) {
		if message == "redis is back" && outages.Add(1) == 1 {
			if err := server.Kill(); err != nil {
				t.Error(err)
			}
			for c.State() != rediscache.StateDown {
				_ = c.Set(t.Context(), "log", message, 0)
			}
		}
	}}
	c = open(t, rediscache.Config{URL: server.URL()}, rediscache.WithLogger(slog.New(handler)))
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "down", func() bool { return c.Ping(t.Context()) != nil && c.State() == rediscache.StateDown })
	for range 2 {
		before := outages.Load()
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "told of the end", func() bool { return outages.Load() > before })
	}
}
