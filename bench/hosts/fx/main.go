// Command fx is the host of hosts/wired, put together by uber-go/fx.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rbcervilla/redisstore/v9"
	"github.com/redis/go-redis/v9"
	"go.uber.org/fx"

	"github.com/pedro-go/pedro/bench/hosts/site"
)

func main() {
	fx.New(
		fx.NopLogger,
		fx.Provide(newPool, newRedis, newStore, site.Handler),
		fx.Invoke(serve),
	).Run()
}

func newPool(lc fx.Lifecycle) (*pgxpool.Pool, error) {
	pool, err := pgxpool.New(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	lc.Append(fx.Hook{OnStart: pool.Ping, OnStop: func(context.Context) error { pool.Close(); return nil }})
	return pool, nil
}

func newRedis(lc fx.Lifecycle) (*redis.Client, error) {
	opts, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(opts)
	lc.Append(fx.Hook{
		OnStart: func(ctx context.Context) error { return client.Ping(ctx).Err() },
		OnStop:  func(context.Context) error { return client.Close() },
	})
	return client, nil
}

func newStore(client *redis.Client) (*redisstore.RedisStore, error) {
	return redisstore.NewRedisStore(context.Background(), client)
}

func serve(lc fx.Lifecycle, h http.Handler) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			go func() { _ = server.Serve(l) }()
			_, err = fmt.Println(l.Addr())
			return err
		},
		OnStop: server.Shutdown,
	})
}
