package ports_test

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/pedro-go/pedro/internal/ports"
)

func TestReserveNeverGivesAPortTwice(t *testing.T) {
	t.Parallel()
	var (
		mu   sync.Mutex
		seen = map[int]bool{}
		wg   sync.WaitGroup
	)
	for range 8 {
		wg.Go(func() {
			for range 25 {
				p, err := ports.Reserve()
				if err != nil {
					t.Errorf("Reserve: got error %v, want none", err)
					return
				}
				t.Cleanup(p.Release)
				mu.Lock()
				if seen[p.Number()] {
					t.Errorf("Reserve: got port %d twice", p.Number())
				}
				seen[p.Number()] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestReservedPortCanBeListenedOnAgainAndAgain(t *testing.T) {
	t.Parallel()
	p, err := ports.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	for range 3 {
		l, err := p.Listen()
		if err != nil {
			t.Fatalf("Listen on the reserved port: got error %v, want none", err)
		}
		if err := ports.Close(l); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReservePair(t *testing.T) {
	t.Parallel()
	p, q, err := ports.ReservePair(100)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	defer q.Release()
	if got, want := q.Number(), p.Number()+100; got != want {
		t.Errorf("second port: got %d, want %d", got, want)
	}
}

// TestReserveBesideForks: a process that is being started has for a moment all
// open files of this one, a listener too that is closed here meanwhile.
func TestReserveBesideForks(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = exec.CommandContext(ctx, exe, "-test.run=^$").Run()
			}
		})
	}
	for range 500 {
		p, err := ports.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			l, err := p.Listen()
			if err != nil {
				t.Fatal(err)
			}
			if err := ports.Close(l); err != nil {
				t.Fatal(err)
			}
		}
		p.Release()
	}
}
