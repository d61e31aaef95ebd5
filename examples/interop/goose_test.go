package interop_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/pedro-go/pedro/examples/interop"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
)

// TestGoose: six instances start at once, each with its own pool, and every
// migration runs once.
func TestGoose(t *testing.T) {
	t.Parallel()
	url := emptyDatabase(t)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		applied int
		errs    []error
	)
	for range 6 {
		pool := openPool(t, pgpool.Config{URL: url, MaxConns: 3})
		wg.Go(func() {
			n, err := interop.Migrate(t.Context(), pool)
			mu.Lock()
			defer mu.Unlock()
			applied += n
			errs = append(errs, err)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || applied != 2 {
		t.Errorf("%d migrations were applied, %v, want each of the 2 once", applied, err)
	}
	pool := openPool(t, pgpool.Config{URL: url})
	if n, err := pgpool.Get[int](t.Context(), pool, "select count(*) from pg_locks where locktype = 'advisory'"); err != nil || n != 0 {
		t.Errorf("%d advisory locks are left, %v, want none", n, err)
	}
	if s := pool.Stats(); s.AcquiredConns != 0 {
		t.Errorf("%d connections are still held", s.AcquiredConns)
	}
}

// TestGooseInAGroup: a service whose migration fails does not start.
func TestGooseInAGroup(t *testing.T) {
	t.Parallel()
	pool := openPool(t, pgpool.Config{URL: emptyDatabase(t)})
	if _, err := pool.Exec(t.Context(), "create table visits (id int)"); err != nil { // in the way
		t.Fatal(err)
	}
	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	g.Add("schema", interop.Migrations(pool))
	err = g.Start(t.Context())
	if failed, ok := errors.AsType[*lifecycle.ComponentError](err); !ok || failed.Name != "schema" || pgpool.Code(err) != "42P07" {
		t.Errorf("the start got %v, want the failure of schema with 42P07", err)
	}
}
