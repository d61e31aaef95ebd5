package interop_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/examples/interop"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// TestAsynq: tasks on the cache's Redis; one at work at the stop is finished;
// one that was put in for a transaction that failed is not there.
func TestAsynq(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := openPool(t, pgpool.Config{URL: database(t)})
	cache, err := rediscache.New(rediscache.Config{URL: rediscachetest.Start(t), Required: true}, rediscache.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	reminded, release := make(chan int64, 10), make(chan struct{})
	queue := interop.NewQueue(cache, func(_ context.Context, patient int64) error {
		reminded <- patient
		if patient == 2 {
			<-release
		}
		return nil
	})
	g := group(t)
	g.Add("redis", cache)
	g.Add("queue", queue.Component())
	if err := g.Start(ctx); err != nil {
		t.Fatal(err)
	}
	admit := func(patient int64, result error) error {
		return pool.InTx(ctx, func(ctx context.Context, _ pgx.Tx) error {
			pgpool.AfterCommit(ctx, func(ctx context.Context) {
				if err := queue.Remind(ctx, patient); err != nil {
					t.Error(err)
				}
			})
			return result
		})
	}
	no := errors.New("no")
	for patient, result := range []error{nil, no, nil} {
		if err := admit(int64(patient), result); !errors.Is(err, result) {
			t.Fatal(err)
		}
	}
	got := map[int64]bool{}
	for len(got) < 2 {
		select {
		case id := <-reminded:
			got[id] = true
		case <-time.After(30 * time.Second):
			t.Fatalf("only %v were reminded within 30s", got)
		}
	}
	if !got[0] || !got[2] {
		t.Errorf("%v were reminded, want 0 and 2", got)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- g.Stop(context.Background()) }()
	for g.State() < lifecycle.StateStopping {
		time.Sleep(time.Millisecond)
	}
	close(release) // the task of patient 2 is at work until here
	if err := <-stopped; err != nil {
		t.Errorf("the stop: %v", err)
	}
}
