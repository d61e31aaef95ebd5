// Package goredis is a cache in front of a slow source, on raw go-redis and on
// rediscache.
package goredis

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// User is what is cached.
type User struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// UsersBefore is the usual cache: look, load, store.
type UsersBefore struct {
	Redis *redis.Client
	Load  func(ctx context.Context, id string) (User, error)
}

// Get returns a user, from the cache if it is there.
func (u *UsersBefore) Get(ctx context.Context, id string) (User, error) {
	var user User
	data, err := u.Redis.Get(ctx, "user:"+id).Bytes()
	if err == nil {
		err = json.Unmarshal(data, &user)
		return user, err
	}
	if !errors.Is(err, redis.Nil) {
		return user, err
	}
	if user, err = u.Load(ctx, id); err != nil {
		return user, err
	}
	if data, err = json.Marshal(user); err != nil {
		return user, err
	}
	return user, u.Redis.Set(ctx, "user:"+id, data, time.Hour).Err()
}

// Changed drops a user from the cache.
func (u *UsersBefore) Changed(ctx context.Context, id string) error {
	return u.Redis.Del(ctx, "user:"+id).Err()
}
