package migration_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	gofx "go.uber.org/fx"

	"github.com/pedro-go/pedro/examples/migration/fx"
	"github.com/pedro-go/pedro/internal/ports"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// TestFx: the application starts, answers and stops, on fx, on lifecycle, and on
// lifecycle inside fx. A taken port is an error of the start in each.
func TestFx(t *testing.T) {
	t.Parallel()
	url := pgpooltest.Start(t)
	type application interface {
		Start(ctx context.Context) error
		Stop(ctx context.Context) error
	}
	onPgpool := func(pool *pgpool.Pool) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := pgpool.Get[int](r.Context(), pool, "select 42")
			fmt.Fprint(w, n, err)
		})
	}
	for name, open := range map[string]func(addr string) (application, error){
		"before": func(addr string) (application, error) {
			return fx.Before(url, addr, func(pool *pgxpool.Pool) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					var n int
					err := pool.QueryRow(r.Context(), "select 42").Scan(&n)
					fmt.Fprint(w, n, err)
				})
			}), nil
		},
		"after": func(addr string) (application, error) { return fx.After(url, addr, onPgpool) },
		"both": func(addr string) (application, error) {
			g, err := fx.After(url, addr, onPgpool)
			if err != nil {
				return nil, err
			}
			return gofx.New(gofx.NopLogger, fx.Both(g)), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, err := ports.Reserve()
			if err != nil {
				t.Fatal(err)
			}
			defer port.Release()
			app, err := open(port.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if err := app.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			newBrowser(t, "http://"+port.Addr()).want("GET", "/", 200, "42 <nil>")
			second, err := open(port.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if err := second.Start(t.Context()); err == nil {
				t.Error("a second one on the same port started")
			}
			_ = second.Stop(context.Background())
			if err := app.Stop(context.Background()); err != nil {
				t.Errorf("the stop: %v", err)
			}
		})
	}
}
