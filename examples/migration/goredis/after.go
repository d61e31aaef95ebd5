package goredis

import (
	"context"
	"time"

	"github.com/pedro-go/pedro/rediscache"
)

// UsersAfter is the same on a namespace.
type UsersAfter struct {
	users *rediscache.Namespace[User]
	load  func(ctx context.Context, id string) (User, error)
}

// NewUsersAfter makes it once, at the start of the program.
func NewUsersAfter(cache *rediscache.Cache, load func(ctx context.Context, id string) (User, error)) *UsersAfter {
	return &UsersAfter{
		users: rediscache.Of[User](cache, "user", rediscache.TTL(time.Hour)),
		load:  load,
	}
}

// Get returns a user: one load however many ask, and none of this is an error
// while Redis is away.
func (u *UsersAfter) Get(ctx context.Context, id string) (User, error) {
	return u.users.Load(ctx, id, u.load)
}

// Changed drops a user from the cache, and keeps loads that are under way from
// putting the old one back.
func (u *UsersAfter) Changed(ctx context.Context, id string) error { return u.users.Del(ctx, id) }
