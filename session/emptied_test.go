package session_test

import (
	"testing"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestRedisEmptied: who loses his session by it is logged out, and nothing
// else happens to him.
func TestRedisEmptied(t *testing.T) {
	t.Parallel()
	server := rediscachetest.StartServer(t)
	b := newBrowser(t, app(t, open(t, dial(t, server.URL()), session.Config{})))
	b.want("/login?u=ada", 200, "")
	b.want("/me", 200, "ada")
	if _, err := server.Do(t.Context(), "FLUSHALL"); err != nil {
		t.Fatal(err)
	}
	b.want("/me", 401, "nobody")
	b.want("/get?k=role", 200, "")
	b.want("/login?u=bob", 200, "")
	b.want("/me", 200, "bob")
}

// TestTwoServices on one Redis, with the same secret: neither takes the other's
// cookies.
func TestTwoServices(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	one, prefixed := open(t, dial(t, url), session.Config{}), open(t, dial(t, url), session.Config{KeyPrefix: "other:"})
	named := open(t, dial(t, url), session.Config{Name: "other.sid"})
	b := newBrowser(t, app(t, one))
	b.want("/login?u=ada", 200, "")
	cookie := b.cookies()
	if code, _, _ := raw(t, app(t, one)+"/me", cookie); code != 200 {
		t.Errorf("at home: %d, want 200", code)
	}
	if code, _, _ := raw(t, app(t, prefixed)+"/me", cookie); code != 401 {
		t.Errorf("with another prefix: %d, want 401", code)
	}
	if code, _, _ := raw(t, app(t, named)+"/me", "other.sid"+cookie[len("pedro.sid"):]); code != 401 {
		t.Errorf("under another name: %d, want 401", code)
	}
}
