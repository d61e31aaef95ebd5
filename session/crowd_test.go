package session_test

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestLoginsDoNotCostMoreTheMoreThereAre: a user whose sessions never end, such
// as a robot, must not make each login read all of them.
func TestLoginsDoNotCostMoreTheMoreThereAre(t *testing.T) {
	t.Parallel()
	server := rediscachetest.StartServer(t)
	m := open(t, dial(t, server.URL()), session.Config{})
	base := app(t, m)
	const logins = 300
	for range logins {
		newBrowser(t, base).want("/login?u=robot", 200, "")
	}
	list, err := m.Sessions(t.Context(), "robot")
	if err != nil || len(list) != logins {
		t.Errorf("%d sessions are listed, %v, want %d", len(list), err, logins)
	}
	info, err := server.Do(t.Context(), "INFO", "commandstats")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := info.(string)
	found := regexp.MustCompile(`cmdstat_hgetall:calls=(\d+)`).FindStringSubmatch(text)
	if found == nil {
		t.Fatal("no HGETALL at all: the index is never cleaned")
	}
	if n, _ := strconv.Atoi(found[1]); n > 10 {
		t.Errorf("%d logins read the whole index %d times, want it at each doubling", logins, n)
	}
}
