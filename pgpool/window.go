package pgpool

import (
	"sync"
	"time"

	"github.com/pedro-go/pedro/internal/histogram"
)

// windowLength is the age at which a latency begins to leave the quantiles.
const windowLength = time.Minute

// A window is a histogram of which the last one to two minutes can be asked
// for: it keeps what was seen before them and subtracts it.
type window struct {
	histogram.Histogram

	mu           sync.Mutex
	turned       int64 // see clock
	older, newer histogram.Snapshot
}

// recent returns the observations of the last one to two windowLengths.
func (w *window) recent() histogram.Snapshot {
	now := w.Snapshot()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch t := clock(); {
	case w.turned == 0:
		w.turned = t
	case time.Duration(t-w.turned) >= windowLength: // longer if nobody asked meanwhile
		w.older, w.newer, w.turned = w.newer, now, t
	}
	return now.Sub(w.older)
}

func (w *window) count() int64 { return int64(w.Snapshot().Count) }
