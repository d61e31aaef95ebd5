package fx

import (
	"net/http"
	"time"

	"go.uber.org/fx"

	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
)

// After is the application on lifecycle: dependencies are arguments, and the
// order is that of the lines.
func After(url, addr string, handler func(pool *pgpool.Pool) http.Handler) (*lifecycle.Group, error) {
	pool, err := pgpool.New(pgpool.Config{URL: url})
	if err != nil {
		return nil, err
	}
	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithSignals())
	if err != nil {
		return nil, err
	}
	g.Add("postgres", pool)
	g.Add("http", lifecycle.Server(&http.Server{Addr: addr, Handler: handler(pool)}))
	return g, nil
}

// Both keeps fx for the wiring and gives it the group as one hook, for as long
// as a service moves part by part.
func Both(g *lifecycle.Group) fx.Option {
	return fx.Options(
		fx.StopTimeout(30*time.Second), // longer than the group's StopBudget
		fx.Invoke(func(lc fx.Lifecycle) {
			lc.Append(fx.Hook{OnStart: g.Start, OnStop: g.Stop})
		}),
	)
}
