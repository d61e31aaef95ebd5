package workers_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/leakcheck"
	"github.com/pedro-go/pedro/internal/workers"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// TestAll: every job runs once, whether goroutines wait or not, and after the end
// too; more than fit on what is kept run at the same time.
func TestAll(t *testing.T) {
	t.Parallel()
	const jobs = 100
	done := make(chan struct{})
	ran := make(chan int, 3*jobs)
	var together sync.WaitGroup
	p := workers.New(done, func(n int) {
		if n < jobs {
			together.Done()
			together.Wait() // ends only if all of them run
		}
		ran <- n
	})
	together.Add(jobs)
	for n := range 3 * jobs {
		if n == 2*jobs {
			close(done)
		}
		p.Go(n)
	}
	seen := map[int]bool{}
	for range 3 * jobs {
		seen[<-ran] = true
	}
	if len(seen) != 3*jobs {
		t.Errorf("%d different jobs ran, want %d", len(seen), 3*jobs)
	}
}

// TestUsedAgain: jobs in a row share a goroutine.
func TestUsedAgain(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	defer close(done)
	stacks := make(chan string, 1)
	p := workers.New(done, func(int) {
		buf := make([]byte, 32)
		stacks <- string(buf[:runtime.Stack(buf, false)]) // "goroutine 12 [running]: …"
	})
	seen := map[string]int{}
	for n := range 20 {
		p.Go(n)
		seen[<-stacks]++
		time.Sleep(time.Millisecond) // it has to come to its wait
	}
	if len(seen) > 10 {
		t.Errorf("20 jobs in a row ran on %d goroutines", len(seen))
	}
}
