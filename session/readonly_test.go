package session_test

import (
	"errors"
	"maps"
	"net/http"
	"testing"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestReadOnlyRefusesChanges: while Redis is away the call says that nothing can be
// changed, and what changes nothing goes on.
func TestReadOnlyRefusesChanges(t *testing.T) {
	t.Parallel()
	srv := rediscachetest.StartServer(t, appendOnly())
	m := open(t, dial(t, srv.URL()), session.Config{Fallback: session.FallbackReadOnly})
	store := m.GorillaStore()
	gorilla := func(w http.ResponseWriter, r *http.Request, flash string) error {
		gs, err := store.Get(r, session.DefaultName)
		if err != nil {
			return err
		}
		if flash != "" {
			gs.AddFlash(flash)
		}
		return gs.Save(r, w)
	}
	routes := appRoutes()
	maps.Copy(routes, map[string]http.HandlerFunc{
		"/change": func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			for name, err := range map[string]error{
				"Set":        session.Set(s, "a", "2"),
				"Update":     session.Update(s, "n", func(n int) int { return n + 1 }),
				"Regenerate": s.Regenerate(),
				"login":      s.SetAuthenticated("ada", nil),
				"flash":      gorilla(w, r, "hello"),
			} {
				if !errors.Is(err, session.ErrUnavailable) {
					t.Errorf("%s = %v, want ErrUnavailable", name, err)
				}
			}
			if v, ok := session.Pop[string](s, "a"); ok {
				t.Errorf("Pop = %q, want nothing", v)
			}
		},
		"/same": func(w http.ResponseWriter, r *http.Request) {
			if err := errors.Join(set(r, "a", "1"), gorilla(w, r, "")); err != nil {
				t.Errorf("what changes nothing: %v", err)
			}
		},
		"/delete": func(_ http.ResponseWriter, r *http.Request) { session.From(r.Context()).Delete("a") },
	})
	b := newBrowser(t, serve(t, m, routes))
	b.want("/login?u=ada", 200, "")
	b.want("/set?k=a&v=1", 200, "")
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	b.want("/me", 200, "ada")
	b.want("/change", 200, "")
	b.want("/same", 200, "")
	b.want("/delete", 503, "*") // it has no error to return
	b.want("/get?k=a", 200, "1")
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "back", func() bool { return m.Stats().FallbackSince.IsZero() })
	b.want("/set?k=a&v=3", 200, "")
	b.want("/get?k=a", 200, "3")
}
