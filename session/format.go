package session

import (
	"crypto/subtle"
	"net/http"
	"time"
)

// An ident is the ID of a session: what the client holds, and where the store
// has it.
type ident struct {
	token string // the secret of the client
	sid   string // the name in the store, a hash of the token
	carry string // the cookie of a gorilla store that wants its own
}

func identOf(token string) ident { return ident{token: token, sid: storageID(token)} }

// A format is how IDs travel and records are stored. There are two: our own
// (within carryFormat for a gorilla store), and that of express-session.
type format interface {
	// newIdent makes an ID, kept near another one if that is not empty.
	newIdent(of ident) ident
	// parseCookie verifies the value of a cookie of this name without asking
	// anybody. stale: valid, but to be replaced by what cookieValue gives.
	parseCookie(value, name string) (id ident, stale, ok bool)
	cookieValue(id ident, name string) string
	encode(r *record, id ident) ([]byte, error)
	// decode wraps errCorrupt if the record is not one.
	decode(raw []byte, id ident) (*record, error)
	// identOf is the ID of a token that stands in a record.
	identOf(token string) ident
	// expiry is when a record ends by itself.
	expiry(r *record) time.Time
	// cookie adjusts the attributes of the cookie of a session.
	cookie(r *record, c *http.Cookie)
	// accepts says why there can be no value of this name.
	accepts(key string) error
	// baseTag is a part of raw, from its beginning, that no other record has.
	baseTag(raw []byte) []byte
}

func constantTimeEqual(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
