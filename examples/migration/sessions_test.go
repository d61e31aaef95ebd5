package migration_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/pedro-go/pedro/examples/migration/gorilla"
	"github.com/pedro-go/pedro/examples/migration/scs"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestScs: the same before and after; then twenty requests of one session at
// once, each with a change of its own. After, all of them are there.
func TestScs(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T, url string) http.Handler{
		"before": func(t *testing.T, url string) http.Handler {
			t.Helper()
			return scs.Before(dial(t, url))
		},
		"after": func(t *testing.T, url string) http.Handler {
			t.Helper()
			m, err := scs.NewAfter(dial(t, url), secret)
			return scs.After(started(t, m, err))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, serve(t, open(t, rediscachetest.Start(t))))
			b.want("GET", "/me", 401, "log in first")
			b.want("POST", "/cart?item=before", 200, "")
			b.want("POST", "/login?user=anna", 200, "")
			b.want("GET", "/me", 200, "anna welcome")
			b.want("GET", "/me", 200, "anna")
			b.want("GET", "/cart?item=before", 200, "1")
			const n = 20
			lost := 0
			for range 5 { // rounds, since the requests of one may happen not to meet
				var wg sync.WaitGroup
				for i := range n {
					wg.Go(func() { b.want("POST", fmt.Sprintf("/cart?item=i%d", i), 200, "") })
				}
				wg.Wait()
				for i := range n {
					if _, body := b.send("GET", fmt.Sprintf("/cart?item=i%d", i)); body != "1" {
						lost++
					}
				}
				b.want("POST", "/logout", 200, "")
				b.want("GET", "/me", 401, "")
				b.want("POST", "/login?user=anna", 200, "")
			}
			t.Logf("of 100 parallel changes %d were lost", lost)
			if name == "after" && lost != 0 {
				t.Errorf("%d changes were lost, want none", lost)
			}
			if name == "before" && lost == 0 {
				t.Error("no change was lost, so the guide is out of date")
			}
		})
	}
}

// TestGorilla: whoever was logged in before the move is so after it, with all
// that the session held; and code that stays on gorilla's interface works on the
// new store.
func TestGorilla(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	client := dial(t, url)
	old, err := gorilla.Before(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	m, err := gorilla.NewAfter(client, secret)
	m = started(t, m, err)
	before, after := serve(t, old), serve(t, gorilla.After(m))

	b := newBrowser(t, before)
	b.want("GET", "/me", 401, "log in first")
	b.want("POST", "/login?user=anna", 200, "")
	b.want("GET", "/me", 200, "anna dark")
	b.base = after
	b.want("GET", "/me", 200, "anna dark")
	b.want("POST", "/logout", 200, "")
	b.want("GET", "/me", 401, "log in first")
	b.base = before
	b.want("GET", "/me", 401, "log in first") // the old session is gone too

	b = newBrowser(t, after)
	b.want("POST", "/login?user=bert", 200, "")
	b.want("GET", "/me", 200, "bert dark")

	b = newBrowser(t, serve(t, gorilla.Unchanged(m)))
	b.want("POST", "/login?user=cara", 200, "")
	b.want("GET", "/me", 200, "cara dark")
	b.want("POST", "/logout", 200, "")
	b.want("GET", "/me", 401, "log in first")
}

func started(t *testing.T, m *session.Manager, err error) *session.Manager {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Stop(context.Background()) })
	return m
}
