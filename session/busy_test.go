package session_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestBusyProcessIsNoOutage: a process with far more to compute than it has
// processors for, as when many hash passwords at once, gets to read replies
// late. That is not Redis' doing, and nobody is taken for logged out. Not
// parallel: it takes all processors.
func TestBusyProcessIsNoOutage(t *testing.T) {
	client := dial(t, rediscachetest.Start(t))
	user := newBrowser(t, app(t, open(t, client, session.Config{})))
	user.want("/login?u=ann", 200, "")
	cookie := user.cookies()

	const callers, calls = 8, 3
	managers := make([]*session.Manager, callers) // that know nobody, and so depend on Redis
	for i := range managers {
		managers[i] = open(t, client, session.Config{})
	}

	var warm sync.WaitGroup // a new connection takes several round trips
	for range callers {
		warm.Go(func() { client.BLPop(t.Context(), 50*time.Millisecond, "nothing") })
	}
	warm.Wait()

	var done atomic.Bool
	var spinners sync.WaitGroup
	for range 30 * runtime.GOMAXPROCS(0) { // each computes for 10 ms before another one may
		spinners.Go(func() {
			for !done.Load() {
			}
		})
	}
	defer spinners.Wait()
	defer done.Store(true)

	var anonymous atomic.Int64
	var readers sync.WaitGroup
	for _, m := range managers {
		h := session.Middleware(m)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if session.From(r.Context()).UserID() != "ann" {
				anonymous.Add(1)
			}
		}))
		readers.Go(func() {
			for range calls {
				r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
				r.Header.Set("Cookie", cookie)
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
	readers.Wait()
	t.Logf("%d of %d requests found their user", callers*calls-anonymous.Load(), callers*calls)
	if anonymous.Load() > 0 {
		t.Error("users were taken for logged out")
	}
}
