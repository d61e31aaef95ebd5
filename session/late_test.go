package session_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestLateSaveIsTold: a request whose session was ended meanwhile learns it,
// and makes nothing anew.
func TestLateSaveIsTold(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	routes := appRoutes()
	routes["/late"] = func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if err := session.Set(s, "late", 1); err != nil {
			t.Error(err)
		}
		if n, err := m.RevokeUser(r.Context(), "ada"); n != 1 || err != nil {
			t.Errorf("RevokeUser = %d, %v", n, err)
		}
		if err := s.Save(r.Context()); !errors.Is(err, session.ErrEnded) {
			t.Errorf("Save = %v, want ErrEnded", err)
		}
		if err := s.Err(); !errors.Is(err, session.ErrEnded) || s.IsAuthenticated() {
			t.Errorf("Err = %v and authenticated %v, want ErrEnded and not", err, s.IsAuthenticated())
		}
		_, _ = io.WriteString(w, "told")
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/login?u=ada", 200, "")
	b.want("/late", 200, "told")
	b.want("/me", 401, "nobody")
	if s := m.Stats(); s.LateWrites != 1 {
		t.Errorf("LateWrites = %d, want 1", s.LateWrites)
	}
}

// TestRotationDoesNotUndoLogin: a request that is answered after a login, and
// in which a new ID was due, must not give the browser the ID before the login.
func TestRotationDoesNotUndoLogin(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{RegenerateEvery: time.Second, RegenerateGrace: time.Second})
	routes := appRoutes()
	saved, loggedIn := make(chan struct{}), make(chan struct{})
	routes["/asset"] = func(w http.ResponseWriter, r *http.Request) {
		_ = session.From(r.Context()).UserID()
		_, _ = io.WriteString(w, "asset") // saved now, and sent when the handler returns
		close(saved)
		<-loggedIn
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/set?k=a&v=1", 200, "")
	made := time.Now()
	eventually(t, "a new ID is due", func() bool { return time.Since(made) > 1100*time.Millisecond })
	var wg sync.WaitGroup
	wg.Go(func() { b.want("/asset", 200, "asset") })
	<-saved
	b.want("/login?u=ada", 200, "")
	close(loggedIn)
	wg.Wait()
	b.want("/me", 200, "ada")
	b.want("/get?k=a", 200, "1")
	eventually(t, "the logged in get new IDs all the same", func() bool { b.get("/me"); return m.Stats().Regenerated >= 1 })
	b.want("/me", 200, "ada")
}

// TestMoveTakesWritesAlong: what another process wrote before the ID changed is
// under the new one, after Regenerate and after a login; if it ended the session
// there is no new one.
func TestMoveTakesWritesAlong(t *testing.T) {
	t.Parallel()
	pair := func(t *testing.T, open func() *session.Manager) { t.Helper(); moveTakesWritesAlong(t, open(), open()) }
	t.Run("Redis", func(t *testing.T) {
		t.Parallel()
		url := rediscachetest.Start(t)
		pair(t, func() *session.Manager { return open(t, dial(t, url), session.Config{Timeout: 10 * time.Second}) })
	})
	t.Run("Gorilla", func(t *testing.T) {
		t.Parallel()
		key := []byte("0123456789abcdef0123456789abcdef")
		files := sessions.NewFilesystemStore(t.TempDir(), key)
		files.MaxLength(1 << 20)
		pair(t, func() *session.Manager { return open(t, nil, session.Config{}, session.WithGorillaStore(files)) })
	})
	t.Run("ExpressOnCluster", func(t *testing.T) { // where one script cannot move it
		t.Parallel()
		c := rediscachetest.StartCluster(t)
		pair(t, func() *session.Manager {
			client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
			t.Cleanup(func() { _ = client.Close() })
			return open(t, client, session.Config{Timeout: 10 * time.Second}, session.WithExpressSessions(session.ExpressConfig{}))
		})
	})
}

func moveTakesWritesAlong(t *testing.T, m, other *session.Manager) {
	t.Helper()
	elsewhere := app(t, other)
	routes := appRoutes()
	meanwhile := func(r *http.Request) {
		_ = session.From(r.Context()).UserID() // loaded
		if code, _, _ := raw(t, elsewhere+r.FormValue("do"), r.Header.Get("Cookie")); code != http.StatusOK {
			t.Errorf("the request meanwhile got %d", code)
		}
	}
	routes["/regenerate"] = func(_ http.ResponseWriter, r *http.Request) {
		meanwhile(r)
		if err := session.From(r.Context()).Regenerate(); err != nil {
			t.Error(err)
		}
	}
	routes["/relogin"] = func(_ http.ResponseWriter, r *http.Request) {
		meanwhile(r)
		if err := session.SetAuthenticated(r.Context(), "ada", nil); err != nil {
			t.Error(err)
		}
	}
	b := newBrowser(t, serve(t, m, routes))
	do := func(path, meanwhile string) string { return path + "?do=" + url.QueryEscape(meanwhile) }
	b.want("/set?k=a&v=1", 200, "")
	b.want(do("/regenerate", "/set?k=b&v=there"), 200, "")
	b.want(do("/relogin", "/set?k=c&v=there"), 200, "")
	b.want("/get?k=a", 200, "1")
	b.want("/get?k=b", 200, "there")
	b.want("/get?k=c", 200, "there")
	b.want("/me", 200, "ada")
	b.want(do("/regenerate", "/logout"), 200, "")
	b.want("/me", 401, "nobody")
	b.want("/login?u=ada", 200, "")
	b.want(do("/relogin", "/logout"), 200, "")
	b.want("/me", 200, "ada") // who logs in is in, whatever became of the session before
}
