package session_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestPartition: one process is cut off from Redis and goes on with sessions
// that another one ends meanwhile. What was ended stays ended, and a login made
// on the far side stands.
func TestPartition(t *testing.T) {
	t.Parallel()
	s := rediscachetest.StartServer(t)
	proxy := faultproxy.Start(t, s.Addr())
	m := open(t, dial(t, proxy.URL(s.URL())), session.Config{})
	routes := appRoutes()
	routes["/regenerate"] = regenerate(t)
	// The other process has time: were it slow it would take Redis for away, and
	// end sessions in its own memory first.
	cutOff, other := serve(t, m, routes), app(t, open(t, dial(t, s.URL()), session.Config{Timeout: 10 * time.Second}))
	writes := map[string]string{"writer": "/set?k=a&v=late", "mover": "/regenerate", "twice": "/regenerate", "stayer": "/set?k=a&v=late", "switcher": "/login?u=eve", "leaver": "/regenerate"}
	browsers := map[string]*browser{}
	for name := range writes {
		b := newBrowser(t, cutOff)
		b.want("/set?k=a&v=1", 200, "")
		b.want("/login?u="+name, 200, "")
		browsers[name] = b
	}
	eventually(t, "all is in Redis", func() bool { s := m.Stats(); return s.FallbackSince.IsZero() && s.Waiting == 0 })
	var left string
	proxy.Blackhole()
	for name, path := range writes {
		b := browsers[name]
		before := b.cookies()
		b.want(path, 200, "")
		if name == "twice" {
			b.want("/regenerate", 200, "")
		}
		switch name {
		case "stayer":
		case "leaver": // with a new ID that Redis has not seen; the one before must end too
			b.want("/logout", 200, "")
			left = before
		default:
			if code, _, _ := raw(t, other+"/logout", before); code != 200 {
				t.Errorf("%s: the logout at the other process got %d", name, code)
			}
		}
	}
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in step again", func() bool { s := m.Stats(); return s.FallbackSince.IsZero() && s.Waiting == 0 })
	for name, b := range browsers {
		for _, base := range []string{cutOff, other} {
			b.base = base
			switch name {
			case "stayer":
				b.want("/me", 200, name)
				b.want("/get?k=a", 200, "late")
			case "switcher":
				b.want("/me", 200, "eve")
			default:
				if code, body := b.get("/me"); code != http.StatusUnauthorized {
					t.Errorf("%s at %s: got %d %q, want 401", name, base, code, body)
				}
			}
		}
	}
	for _, base := range []string{cutOff, other} {
		if code, _, _ := raw(t, base+"/me", left); code != http.StatusUnauthorized {
			t.Errorf("the ID before the one that was logged out, at %s: got %d, want 401", base, code)
		}
	}
	if n := m.Stats().LateWrites; n != 3 {
		t.Errorf("%d late writes, want those of the writer and the movers", n)
	}
}
