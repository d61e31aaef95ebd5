package lifecycle_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

// TestStopOfServerThatNeverServed: the host has closed it before the start.
func TestStopOfServerThatNeverServed(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{}
	s := lifecycle.Server(srv, lifecycle.WithListener(ln))
	_ = srv.Close() // by the host
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Stop: %v", err)
	}
}

// TestStatesInOrder: a slow observer of one state does not hear of it after a later
// one.
func TestStatesInOrder(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var states []lifecycle.State
	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithDrain(0, func() { time.Sleep(200 * time.Millisecond) }),
		lifecycle.OnState(func(s lifecycle.State) { mu.Lock(); states = append(states, s); mu.Unlock() }))
	if err != nil {
		t.Fatal(err)
	}
	g.Add("a", lifecycle.Funcs{})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(g.Drain) // a preStop hook of the host
	time.Sleep(50 * time.Millisecond)
	if err := g.Stop(t.Context()); err != nil { // SIGTERM
		t.Fatal(err)
	}
	wg.Wait()
	if !slices.IsSorted(states) {
		t.Errorf("states were announced as %v", states)
	}
}
