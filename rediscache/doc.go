// Package rediscache is a cache in Redis with a cache in the process in front
// of it, on go-redis, that does not mind the loss of Redis.
//
//	cfg, err := rediscache.ConfigFromEnv()
//	cache, err := rediscache.New(cfg)
//	err = cache.Start(ctx)
//	defer cache.Stop(ctx)
//
//	users := rediscache.Of[User](cache, "user", rediscache.TTL(time.Hour))
//	user, err := users.Load(ctx, "42", func(ctx context.Context, id string) (User, error) {
//		return db.User(ctx, id) // once, however many ask
//	})
//	err = users.Del(ctx, "42") // after the user changed
package rediscache
