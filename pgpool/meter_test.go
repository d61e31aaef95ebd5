package pgpool_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// A meter notes what callers see of a fault, for docs/reliability.md. It
// asserts nothing.
type meter struct {
	mu            sync.Mutex
	calls, failed int
	longest       time.Duration
	over          time.Time     // when the fault ended
	back          time.Duration // from then to the first success
}

// call runs f and notes how it went.
func (m *meter) call(f func() error) error {
	start := time.Now()
	err := f()
	end := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	m.longest = max(m.longest, end.Sub(start))
	switch {
	case err != nil:
		m.failed++
	case !m.over.IsZero() && m.back == 0 && end.After(m.over):
		m.back = end.Sub(m.over)
	}
	return err
}

// heal notes that the fault is over, from where the recovery counts.
func (m *meter) heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over, m.back = time.Now(), 0
}

// recovered reports whether a call succeeded since heal.
func (m *meter) recovered() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.back > 0
}

// String is what the table says.
func (m *meter) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := fmt.Sprintf("%d calls, %d errors, longest %v", m.calls, m.failed, m.longest.Round(100*time.Microsecond))
	if m.back > 0 {
		s += fmt.Sprintf(", back after %v", m.back.Round(10*time.Microsecond))
	}
	return s
}

// A load is callers at work.
type load struct {
	stop chan struct{}
	wg   sync.WaitGroup
}

func newLoad() *load { return &load{stop: make(chan struct{})} }

// run starts n callers of f. One that fails pauses, as a client would: an error
// that comes at once would be counted a thousand times otherwise.
func (l *load) run(n int, m *meter, f func() error) {
	for range n {
		l.wg.Go(func() {
			for {
				var pause time.Duration
				if m.call(f) != nil {
					pause = 5 * time.Millisecond
				}
				select {
				case <-l.stop:
					return
				case <-time.After(pause):
				}
			}
		})
	}
}

// end stops all callers.
func (l *load) end() {
	close(l.stop)
	l.wg.Wait()
}

// bare makes the pool beside ours: pgxpool, with what its defaults give.
func bare(tb testing.TB, url string) *pgxpool.Pool {
	tb.Helper()
	raw, err := pgxpool.New(context.Background(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(raw.Close)
	return raw
}

// warm opens n connections, and leaves them idle.
func warm(tb testing.TB, raw *pgxpool.Pool, n int) {
	tb.Helper()
	var good []*pgxpool.Conn
	for len(good) < n {
		conn, err := raw.Acquire(context.Background())
		if err != nil {
			tb.Fatal(err)
		}
		if conn.Ping(context.Background()) != nil { // left from an earlier fault
			conn.Release()
			continue
		}
		good = append(good, conn)
	}
	for _, conn := range good {
		conn.Release()
	}
}

// bareExec is a statement on the pool beside ours.
func bareExec(ctx context.Context, raw *pgxpool.Pool, sql string) func() error {
	return func() error { _, err := raw.Exec(ctx, sql); return err }
}
