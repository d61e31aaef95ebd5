package ports_test

import (
	"net"
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
		l, err := net.Listen("tcp4", p.Addr())
		if err != nil {
			t.Fatalf("Listen on the reserved port: got error %v, want none", err)
		}
		if err := l.Close(); err != nil {
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
