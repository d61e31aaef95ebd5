package session_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// leastPrivilege returns the rules that SECURITY.md gives a user of this name:
// the document and the test cannot differ.
func leastPrivilege(tb testing.TB, user string) []string {
	tb.Helper()
	text, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		tb.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ACL SETUSER ` + user + ` on >PASSWORD (.+)$`).FindStringSubmatch(string(text))
	if line == nil {
		tb.Fatalf("SECURITY.md has no ACL line of the user %s", user)
	}
	return strings.Fields(line[1])
}

// TestLeastPrivilege: everything works with the rights that SECURITY.md names,
// an outage included, and nothing was even tried beyond them.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	server := rediscachetest.StartServer(t, devservices.WithAppendOnly(), devservices.WithUser("session", "pw", leastPrivilege(t, "session")...))
	url := server.UserURL("session")
	cfg := session.Config{MaxPerUser: 2, LocalCache: 10 * time.Second}
	m, other := open(t, dial(t, url), cfg), open(t, dial(t, url), cfg)
	if err := everything(t, m, other); err != nil {
		t.Error(err)
	}
	b := newBrowser(t, app(t, m))
	b.want("/login?u=eve", 200, "")
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	b.want("/set?k=outage&v=kept", 200, "")
	denied(t, server.Restart(t.Context()), server)
	eventually(t, "what was written without Redis is there", func() bool { return m.Stats().Waiting == 0 && other.Stats().Waiting == 0 })
	b.want("/get?k=outage", 200, "kept")
	denied(t, nil, server)
}

// denied fails the test for each entry of the server's ACL log.
func denied(t *testing.T, err error, server *devservices.Redis) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := server.Do(t.Context(), "ACL", "LOG")
	if err != nil {
		t.Fatal(err)
	}
	if entries, _ := reply.([]any); len(entries) > 0 {
		t.Errorf("denied: %v", entries)
	}
}

// everything uses all that sessions can do, on two managers, and returns the
// first error.
func everything(t *testing.T, m, other *session.Manager) error {
	t.Helper()
	ctx := t.Context()
	routes := appRoutes()
	routes["/regenerate"] = func(w http.ResponseWriter, r *http.Request) {
		if err := session.From(r.Context()).Regenerate(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
	b, again := newBrowser(t, serve(t, m, routes)), newBrowser(t, serve(t, other, routes))
	for _, step := range []struct {
		who  *browser
		path string
		body string
	}{
		{b, "/set?k=a&v=1", ""},
		{b, "/login?u=ada", ""},
		{b, "/me", "ada"},
		{b, "/get?k=a", "1"},
		{b, "/regenerate", ""},
		{b, "/count", ""},
		{b, "/counted", "1"},
		{again, "/login?u=ada", ""},
		{again, "/logout", ""},
		{again, "/login?u=ada", ""},
		{newBrowser(t, b.base), "/login?u=ada", ""},
	} {
		if code, body := step.who.get(step.path); code != http.StatusOK || body != step.body {
			return fmt.Errorf("%s: %d %s", step.path, code, body)
		}
	}
	list, err := m.Sessions(ctx, "ada")
	if err != nil || len(list) != 2 {
		return fmt.Errorf("sessions: %d, want the 2 that MaxPerUser allows: %w", len(list), err)
	}
	if err := m.Revoke(ctx, "ada", list[0].Ref); err != nil {
		return err
	}
	if n, err := m.RevokeUser(ctx, "ada"); n != 1 || err != nil {
		return fmt.Errorf("revoke user: %d, %w", n, err)
	}
	if code, _ := again.get("/me"); code != http.StatusUnauthorized {
		eventually(t, "the other process hears of the end", func() bool { code, _ := again.get("/me"); return code == http.StatusUnauthorized })
	}
	return m.RevokeAll(ctx)
}

// TestMissingRight: without one of the rights sessions are served from memory,
// or what it was for is gone without, and the log says which it is. Nothing
// hangs.
func TestMissingRight(t *testing.T) {
	t.Parallel()
	rules := leastPrivilege(t, "session")
	// What is done without: names are for people, and so are signals of life
	// where the connection lives; changes made elsewhere are found by asking.
	tolerated := []string{"+client|setname", "+ping", "+subscribe"}
	for i, rule := range rules {
		if rule[0] != '+' {
			continue
		}
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			less := slices.Delete(slices.Clone(rules), i, i+1)
			server := rediscachetest.StartServer(t, devservices.WithUser("less", "pw", less...))
			var log logBuffer
			m, err := session.New(dial(t, server.UserURL("less")), session.Config{Secrets: []string{secret}, MaxPerUser: 2}, session.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			defer m.Stop(ctx)
			if err := m.Start(ctx); err != nil {
				fmt.Fprintln(&log, err)
			}
			err = everything(t, m, m)
			fmt.Fprintln(&log, err)
			if slices.Contains(tolerated, rule) {
				if err != nil {
					t.Errorf("without %s: %v, want it done without", rule, err)
				}
				return
			}
			if rule == "+publish" && err != nil {
				return // what fails is a message after a write: the caller notices, and the log does not always
			}
			eventually(t, "a word on what is missing", func() bool { return missing.MatchString(log.String()) })
		})
	}
}

// missing is how Redis says that a right is missing, to a client or a script.
var missing = regexp.MustCompile(`NOPERM|can't run this command`)

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestListThatIsDenied: a list that Redis refuses is an error, and not a short
// list.
func TestListThatIsDenied(t *testing.T) {
	t.Parallel()
	less := slices.DeleteFunc(leastPrivilege(t, "session"), func(rule string) bool { return rule == "+hgetall" })
	server := rediscachetest.StartServer(t, devservices.WithUser("less", "pw", less...))
	m := open(t, dial(t, server.UserURL("less")), session.Config{})
	newBrowser(t, app(t, m)).want("/login?u=eve", 200, "")
	if list, err := m.Sessions(t.Context(), "eve"); err == nil || !missing.MatchString(err.Error()) {
		t.Errorf("Sessions = %v, %v, want NOPERM", list, err)
	}
}
