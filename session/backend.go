package session

import (
	"context"
	"time"
)

// A backend keeps encoded sessions under their storage IDs. It never makes a
// session that was asked to be changed, and so revives none.
type backend interface {
	// load returns what is stored, or errGone.
	load(ctx context.Context, id ident) ([]byte, error)
	// swap stores next in place of what begins with base; without base there
	// must be nothing. If there is something else it returns that, and changes
	// nothing. errGone: there is nothing where base should be.
	swap(ctx context.Context, id ident, base, next []byte, ttl time.Duration) (current []byte, err error)
	// move is swap under another ID. left stays behind; nothing if it is empty.
	move(ctx context.Context, m *move) (current []byte, err error)
	// drop removes a session and returns what was stored, or errGone.
	drop(ctx context.Context, id ident) ([]byte, error)
}

// A move gives a session a new ID.
type move struct {
	from, to ident
	base     []byte // what is stored under from begins with it
	next     []byte
	ttl      time.Duration
	left     []byte
	leftTTL  time.Duration
}
