package session_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// TestCookieAttacks: what each kind of wrong cookie comes to.
func TestCookieAttacks(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	m := open(t, dial(t, url), session.Config{})
	base := app(t, m)
	foreign := newBrowser(t, app(t, open(t, dial(t, url), session.Config{Secrets: []string{strings.Repeat("another secret ", 3)}})))
	foreign.want("/login?u=eve", 200, "")
	victim, logged, gone := newBrowser(t, base), newBrowser(t, base), newBrowser(t, base)
	victim.want("/set?k=a&v=1", 200, "")
	planted := victim.cookies() // an attacker planted this one before the victim logs in
	victim.want("/login?u=ada", 200, "")
	logged.want("/login?u=ada", 200, "")
	good := logged.cookies()
	gone.want("/login?u=bob", 200, "")
	replayed := gone.cookies()
	gone.want("/logout", 200, "")
	value := strings.TrimPrefix(good, "pedro.sid=")

	flip := func(i int) string {
		b := []byte(value)
		if b[i] == 'A' {
			b[i] = 'B'
		} else {
			b[i] = 'A'
		}
		return string(b)
	}
	for name, c := range map[string]struct {
		cookie string
		reason session.Reason // empty: not even looked at
	}{
		"none":                   {"", ""},
		"empty":                  {"pedro.sid=", session.ReasonForged},
		"bare token":             {"pedro.sid=" + value[:43], session.ReasonForged},
		"chosen":                 {"pedro.sid=ATTACKER", session.ReasonForged},
		"chosen, right length":   {"pedro.sid=" + strings.Repeat("A", 43) + "." + strings.Repeat("A", 22), session.ReasonForged},
		"token changed":          {"pedro.sid=" + flip(3), session.ReasonForged},
		"signature changed":      {"pedro.sid=" + flip(50), session.ReasonForged},
		"truncated":              {"pedro.sid=" + value[:60], session.ReasonForged},
		"oversized":              {"pedro.sid=" + value + strings.Repeat("x", 7000), session.ReasonForged},
		"of another secret":      {foreign.cookies(), session.ReasonForged},
		"another name's":         {"other=" + value, ""},
		"replayed after logout":  {replayed, session.ReasonUnknown},
		"planted before a login": {planted, session.ReasonRetired},
		"not base64":             {"pedro.sid=" + strings.Repeat("!", 43) + "." + value[44:], session.ReasonForged},
		"other encoding":         {"pedro.sid=" + value[:65] + nonCanonical(value[65]), session.ReasonForged},
	} {
		before := m.Stats().Rejected
		code, _, header := raw(t, base+"/me", c.cookie)
		if code != http.StatusUnauthorized || header.Get("Set-Cookie") != "" {
			t.Errorf("%s: got %d, Set-Cookie %q, want 401 and none", name, code, header.Get("Set-Cookie"))
		}
		for reason, n := range m.Stats().Rejected {
			want := int64(0)
			if reason == c.reason {
				want = 1
			}
			if n-before[reason] != want {
				t.Errorf("%s: counted %d as %s, want %d", name, n-before[reason], reason, want)
			}
		}
		// A write makes a session of its own: the ID shown is never adopted.
		if _, _, header := raw(t, base+"/set?k=a&v=evil", c.cookie); c.cookie != "" {
			if set := header.Get("Set-Cookie"); set != "" && strings.Contains(set, strings.TrimPrefix(c.cookie, "pedro.sid=")) && len(c.cookie) > 20 {
				t.Errorf("%s: the cookie was adopted: %q", name, set)
			}
		}
	}
	// Several cookies of the name, as a sibling domain could plant: the good one counts.
	if code, body, _ := raw(t, base+"/me", "pedro.sid=ATTACKER; "+good); code != 200 || body != "ada" {
		t.Errorf("with a planted cookie in front got %d %q, want ada", code, body)
	}
	victim.want("/me", 200, "ada")
	logged.want("/me", 200, "ada")
}

// nonCanonical is another letter that decodes to the same bytes, to those who
// do not look.
func nonCanonical(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, c)
	return string(alphabet[i^1])
}

// TestDumpIsWorthless: nothing of a session can be found in a dump of Redis.
func TestDumpIsWorthless(t *testing.T) {
	t.Parallel()
	client := dial(t, rediscachetest.Start(t))
	m := open(t, client, session.Config{RegenerateEvery: time.Nanosecond, RegenerateGrace: time.Nanosecond, MaxPerUser: 5})
	base := app(t, m)
	var needles []string
	for range 5 {
		b := newBrowser(t, base)
		b.want("/set?k=needle-key-1&v=needle-value-1", 200, "")
		needles = append(needles, b.cookies())
		b.want("/login?u=needle-user@example.org", 200, "")
		needles = append(needles, b.cookies())
		b.want("/set?k=needle-key-2&v=needle-value-2", 200, "")
		needles = append(needles, b.cookies())
	}
	parts := []string{"needle", "example.org", "nurse", "role", "127.0.0.1", "Go-http-client", secret}
	for _, n := range needles {
		token := strings.TrimPrefix(n, "pedro.sid=")
		parts = append(parts, token[:43], token[44:], token[11:43])
	}
	list, err := m.Sessions(t.Context(), "needle-user@example.org")
	if err != nil || len(list) == 0 {
		t.Fatalf("Sessions = %d, %v, want some", len(list), err)
	}
	for _, info := range list {
		parts = append(parts, info.Ref)
	}
	var dump bytes.Buffer
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) < 10 {
		t.Fatalf("got %d keys, %v, want the sessions and their index", len(keys), err)
	}
	for _, key := range keys {
		dump.WriteString(key + "\n")
		switch client.Type(t.Context(), key).Val() {
		case "string":
			dump.WriteString(client.Get(t.Context(), key).Val() + "\n")
		case "hash":
			for f, v := range client.HGetAll(t.Context(), key).Val() {
				dump.WriteString(f + "\n" + v + "\n")
			}
		default:
			t.Errorf("a key of another type: %s", key)
		}
	}
	for _, p := range parts {
		if bytes.Contains(dump.Bytes(), []byte(p)) {
			t.Errorf("the dump holds %q", p)
		}
	}
	// Nor is a key of the dump a cookie, and a record copied to another key opens nothing.
	for _, key := range keys {
		if code, _, _ := raw(t, base+"/me", "pedro.sid="+strings.TrimPrefix(key, "session:")); code != http.StatusUnauthorized {
			t.Errorf("a key of the dump as cookie: got %d, want 401", code)
		}
	}
	a, b := newBrowser(t, base), newBrowser(t, base)
	a.want("/set?k=a&v=1", 200, "")
	before, _ := client.Keys(t.Context(), "session:{*").Result()
	b.want("/set?k=b&v=2", 200, "")
	after, _ := client.Keys(t.Context(), "session:{*").Result()
	for _, key := range after {
		if !strings.Contains(strings.Join(before, " "), key) {
			client.Set(t.Context(), key, client.Get(t.Context(), before[0]).Val(), time.Minute)
		}
	}
	b.want("/get?k=b", 200, "")
	if n := m.Stats().Rejected[session.ReasonUndecodable]; n != 1 {
		t.Errorf("a record moved to another key: %d undecodable, want 1", n)
	}
}

// TestUndecodable: a broken record is a new session, never a 500.
func TestUndecodable(t *testing.T) {
	t.Parallel()
	client := dial(t, rediscachetest.Start(t))
	m := open(t, client, session.Config{})
	base := app(t, m)
	for _, rubbish := range []string{"", "x", "\x01", "\x01\x00", "\x02" + strings.Repeat("y", 100), strings.Repeat("z", 5000), `{"cookie":{}}`} {
		b := newBrowser(t, base)
		b.want("/set?k=a&v=1", 200, "")
		keys, _ := client.Keys(t.Context(), "session:{*").Result()
		for _, key := range keys {
			client.Set(t.Context(), key, rubbish, time.Minute)
		}
		b.want("/get?k=a", 200, "")
		b.want("/set?k=a&v=2", 200, "")
		b.want("/get?k=a", 200, "2")
		client.FlushDB(t.Context())
	}
	// A key of another type is the same.
	b := newBrowser(t, base)
	b.want("/set?k=a&v=1", 200, "")
	keys, _ := client.Keys(t.Context(), "session:{*").Result()
	client.Del(t.Context(), keys[0])
	client.LPush(t.Context(), keys[0], "x")
	b.want("/get?k=a", 200, "")
	b.want("/set?k=a&v=2", 200, "")
	b.want("/get?k=a", 200, "2")
}
