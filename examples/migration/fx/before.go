// Package fx is a server and its database, wired with go.uber.org/fx and with
// lifecycle.
package fx

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/fx"
)

// Before is the application on fx.
func Before(url, addr string, handler func(pool *pgxpool.Pool) http.Handler) *fx.App {
	return fx.New(
		fx.NopLogger,
		fx.Provide(func(lc fx.Lifecycle) (*pgxpool.Pool, error) {
			pool, err := pgxpool.New(context.Background(), url)
			if err != nil {
				return nil, err
			}
			lc.Append(fx.Hook{
				OnStart: pool.Ping,
				OnStop:  func(context.Context) error { pool.Close(); return nil },
			})
			return pool, nil
		}),
		fx.Invoke(func(lc fx.Lifecycle, pool *pgxpool.Pool, shutdown fx.Shutdowner) {
			server := &http.Server{Addr: addr, Handler: handler(pool)}
			lc.Append(fx.Hook{
				OnStart: func(ctx context.Context) error {
					var listen net.ListenConfig
					ln, err := listen.Listen(ctx, "tcp", server.Addr)
					if err != nil {
						return err
					}
					go func() {
						if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
							_ = shutdown.Shutdown(fx.ExitCode(1))
						}
					}()
					return nil
				},
				OnStop: server.Shutdown,
			})
		}),
	)
}
