package session_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// nodeModules installs what testdata/express needs, once for each lock file,
// into the user's cache, and returns the directory of the app.
var nodeModules = sync.OnceValues(func() (string, error) {
	if _, err := exec.LookPath("npm"); err != nil {
		return "", fmt.Errorf("npm is not installed (Debian: apt-get install npm): %w", err)
	}
	files := map[string][]byte{}
	sum := sha256.New()
	for _, name := range []string{"app.js", "package.json", "package-lock.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", "express", name))
		if err != nil {
			return "", err
		}
		files[name] = b
		sum.Write(b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "pedro", "express-"+hex.EncodeToString(sum.Sum(nil))[:12])
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "connect-redis")); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(fresh, name), b, 0o600); err != nil {
			return "", err
		}
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = fresh
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w: %s", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, err := os.Stat(dir); err != nil { // another process was faster
			return "", err
		}
	}
	return dir, nil
})

// node starts the Express app and returns its address. It skips the test where
// that cannot be had, but fails where CI is set.
func node(t *testing.T, url string, env ...string) string {
	t.Helper()
	dir, err := nodeModules()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no Express to test with: %v", err)
		}
		t.Skipf("no Express to test with: %v", err)
	}
	cmd := exec.Command("node", "app.js")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append([]string{"REDIS_URL=" + url, "SESSION_SECRET=" + secret, "NODE_ENV=test"}, env...)...)
	return firstLine(t, cmd)
}

// TestExpress: a real Express app and a Go server on one Redis share logins in
// both directions.
func TestExpress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env []string
		cfg session.ExpressConfig
	}{
		"Session": {nil, session.ExpressConfig{NumericUserID: true}},
		"MaxAge":  {[]string{"MAX_AGE=600000"}, session.ExpressConfig{NumericUserID: true, MaxAge: 10 * time.Minute}},
		"Rolling": {[]string{"MAX_AGE=600000", "ROLLING=true"}, session.ExpressConfig{NumericUserID: true, MaxAge: 10 * time.Minute, Rolling: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := rediscachetest.Start(t)
			express := node(t, url, c.env...)
			m := open(t, dial(t, url), session.Config{}, session.WithExpressSessions(c.cfg))
			here := app(t, m)
			sides := map[string]string{"Node": express, "Go": here}
			for from, to := range map[string]string{"Node": "Go", "Go": "Node", "self": "Go"} {
				first, second := sides[from], sides[to]
				if from == "self" {
					first = here
				}
				b := newBrowser(t, first)
				on := func(base string) *browser { b.base = base; return b }
				on(first).want("/set?k=cart&v=apple", 200, "")
				anonymous := b.cookies()
				on(first).want("/login?u=42", 200, "")
				if b.cookies() == anonymous {
					t.Errorf("%s: the ID did not change at the login", from)
				}
				on(second).want("/me", 200, "42")
				on(second).want("/get?k=role", 200, "nurse")
				on(second).want("/get?k=cart", 200, "apple")
				on(second).want("/set?k=note&v=from-the-other", 200, "")
				on(first).want("/get?k=note", 200, "from-the-other")
				on(first).want("/me", 200, "42")
				on(express).want("/type", 200, "number")
				cookies := b.cookies()
				on(second).want("/logout", 200, "")
				for _, base := range sides {
					if code, _, _ := raw(t, base+"/me", cookies); code != 401 {
						t.Errorf("%s to %s: after the logout got %d, want 401", from, to, code)
					}
				}
			}
		})
	}
}

// TestExpressRecord: field for field what express-session writes.
func TestExpressRecord(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	client := dial(t, url)
	m := open(t, client, session.Config{TouchEvery: time.Nanosecond}, session.WithExpressSessions(session.ExpressConfig{AuthenticatedKey: "isAuthenticated", Rolling: true, MaxAge: time.Hour}))
	b := newBrowser(t, app(t, m))
	// What Node wrote, with fields that nobody here knows.
	sid := "Pk4o7Xn2LQzvJ0bS8cTq1yWfHd5mRaEu"
	expires := time.Now().Add(30 * time.Minute).UTC().Format("2006-01-02T15:04:05.000Z")
	client.Set(t.Context(), "sess:"+sid, `{"cookie":{"originalMaxAge":3600000,"expires":"`+expires+`","secure":false,"httpOnly":true,"path":"/","priority":"high"},"userId":42,"isAuthenticated":true,"deep":{"a":[1,2,{"b":null}]},"n":1.50}`, time.Hour)
	const mac = "s%3APk4o7Xn2LQzvJ0bS8cTq1yWfHd5mRaEu."
	cookie := "pedro.sid=" + mac + signExpress(sid)
	if code, who, header := raw(t, b.base+"/me", cookie); code != 200 || who != "42" || !strings.Contains(header.Get("Set-Cookie"), "Expires=") {
		t.Fatalf("got %d %q, Set-Cookie %q, want 42 and the cookie's end moved", code, who, header.Get("Set-Cookie"))
	}
	raw(t, b.base+"/set?k=mine&v=1", cookie)
	stored := client.Get(t.Context(), "sess:"+sid).Val()
	var record struct {
		Cookie struct {
			OriginalMaxAge int64     `json:"originalMaxAge"`
			Expires        time.Time `json:"expires"`
			Priority       string    `json:"priority"`
		} `json:"cookie"`
	}
	if err := json.Unmarshal([]byte(stored), &record); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(record.Cookie.Expires); record.Cookie.OriginalMaxAge != 3600000 || left < 59*time.Minute || left > time.Hour || record.Cookie.Priority != "high" {
		t.Errorf("the cookie object is %+v, want an hour from now, and the rest as it was", record.Cookie)
	}
	if ttl := client.TTL(t.Context(), "sess:"+sid).Val(); ttl < 59*time.Minute || ttl > time.Hour {
		t.Errorf("the record lives %v, want an hour", ttl)
	}
	for _, want := range []string{`"userId":42,`, `"isAuthenticated":true`, `"deep":{"a":[1,2,{"b":null}]}`, `"n":1.50`, `"mine":"1"`} {
		if !strings.Contains(stored, want) {
			t.Errorf("the record misses %s: %s", want, stored)
		}
	}
	// Logged out by Node's hand, without destroying.
	client.Set(t.Context(), "sess:"+sid, strings.Replace(stored, `"isAuthenticated":true`, `"isAuthenticated":false`, 1), time.Hour)
	if code, _, _ := raw(t, b.base+"/me", cookie); code != 401 {
		t.Errorf("with isAuthenticated false got %d, want 401", code)
	}
	for name, bad := range map[string]string{
		"other secret": "pedro.sid=" + mac + strings.Repeat("A", 43),
		"unsigned":     "pedro.sid=" + sid,
		"no sid":       "pedro.sid=s%3A." + signExpress(""),
		"long":         "pedro.sid=s%3A" + strings.Repeat("a", 5000),
	} {
		if code, _, header := raw(t, b.base+"/me", bad); code != 401 || header.Get("Set-Cookie") != "" {
			t.Errorf("%s: got %d, want 401 and no cookie", name, code)
		}
	}
	if err := m.RevokeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := client.Exists(t.Context(), "sess:"+sid).Val(); n != 0 {
		t.Error("a record outlived RevokeAll")
	}
}

// TestExpressParallel: this side's parallel writes survive in Express records.
func TestExpressParallel(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{}, session.WithExpressSessions(session.ExpressConfig{}))
	b := newBrowser(t, app(t, m))
	b.want("/set?k=first&v=x", 200, "")
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() { b.want("/set?k=k"+strconv.Itoa(i)+"&v=x", 200, "") })
	}
	wg.Wait()
	for i := range 64 {
		b.want("/get?k=k"+strconv.Itoa(i), 200, "x")
	}
}

// TestExpressReservedKeys: who sets a property with a meaning of its own is told.
func TestExpressReservedKeys(t *testing.T) {
	t.Parallel()
	routes := appRoutes()
	routes["/reserved"] = func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		for _, key := range []string{"cookie", "pedro", "userId", "isAuthenticated"} {
			if session.Set(s, key, 7) == nil {
				t.Errorf("Set of %q = nil, want an error", key)
			}
			if s.SetAuthenticated("8", map[string]any{key: 7}) == nil {
				t.Errorf("SetAuthenticated with %q = nil, want an error", key)
			}
		}
	}
	x := session.WithExpressSessions(session.ExpressConfig{AuthenticatedKey: "isAuthenticated"})
	b := newBrowser(t, serve(t, fresh(t, session.Config{}, x), routes))
	b.want("/login?u=7", 200, "")
	b.want("/reserved", 200, "")
	b.want("/me", 200, "7")
}

// TestExpressGlobInPrefix: RevokeAll takes the prefix for what it is.
func TestExpressGlobInPrefix(t *testing.T) {
	t.Parallel()
	client := dial(t, redisURL(t))
	m := open(t, client, session.Config{}, session.WithExpressSessions(session.ExpressConfig{Prefix: `app[1]*?\:`}))
	b := newBrowser(t, app(t, m))
	b.want("/login?u=ada", 200, "")
	if err := client.Set(t.Context(), "app1:foreign", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := m.RevokeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.want("/me", 401, "nobody")
	if client.Exists(t.Context(), "app1:foreign").Val() != 1 {
		t.Error("somebody else's key is gone")
	}
}

// TestExpressKeysDiffer: one property cannot be the user's ID and true.
func TestExpressKeysDiffer(t *testing.T) {
	t.Parallel()
	for _, x := range []session.ExpressConfig{{UserKey: "user", AuthenticatedKey: "user"}, {AuthenticatedKey: "userId"}} {
		if _, err := session.New(nil, session.Config{Secrets: []string{secret}}, session.WithExpressSessions(x)); !errors.Is(err, session.ErrInvalidConfig) {
			t.Errorf("%+v: got %v, want ErrInvalidConfig", x, err)
		}
	}
}
