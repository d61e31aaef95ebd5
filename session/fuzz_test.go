package session_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/session"
)

// FuzzCookie: no Cookie header makes a panic, a 5xx or a user.
func FuzzCookie(f *testing.F) {
	m := open(f, nil, session.Config{})
	h := session.Middleware(m)(appHandler())
	for _, seed := range []string{
		"", "pedro.sid=", "pedro.sid=x", "pedro.sid=" + strings.Repeat("A", 43) + "." + strings.Repeat("A", 22),
		"pedro.sid=" + strings.Repeat("A", 66) + "~carry", "pedro.sid=s%3Aabc.def", `pedro.sid="quoted"`, "pedro.sid=a; pedro.sid=b; pedro.sid=c; pedro.sid=d; pedro.sid=e",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cookie string) { anonymous(t, h, cookie) })
}

// FuzzExpressCookie is the same for the cookies of express-session.
func FuzzExpressCookie(f *testing.F) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	f.Cleanup(func() { _ = client.Close() })
	m, err := session.New(client, session.Config{Secrets: []string{secret}}, session.WithExpressSessions(session.ExpressConfig{}))
	if err != nil {
		f.Fatal(err)
	}
	h := session.Middleware(m)(appHandler())
	for _, seed := range []string{"s%3A", "s%3Aabc", "s%3Aabc.def", "s:abc.", "%", "s%3A%00.x", "s%3A..", "j%3A{}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if len(value) > 4 && strings.Contains(value, signExpress(value)) {
			t.Skip()
		}
		anonymous(t, h, "pedro.sid="+value)
	})
}

func anonymous(t *testing.T, h http.Handler, cookie string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/me", nil)
	r.Header["Cookie"] = []string{cookie}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("cookie %q: got %d, Set-Cookie %q, want 401 and none", cookie, w.Code, w.Header().Get("Set-Cookie"))
	}
}

// FuzzRecord: no record makes a panic, and none that was not sealed is opened.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{"", "\x01", "\x01\x00", "\x01" + strings.Repeat("x", 60), "{}", `{"c":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if session.DecodeRecord(raw) == nil {
			t.Errorf("%q was opened", raw)
		}
	})
}

// FuzzExpressRecord: no record makes a panic; one that is read can be written
// and read again, with the same user.
func FuzzExpressRecord(f *testing.F) {
	for _, seed := range []string{
		"", "null", "[]", "{}", `{"cookie":null}`, `{"cookie":{}}`, `{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"userId":"ada"}`,
		`{"cookie":{"originalMaxAge":60000,"expires":"2030-01-01T00:00:00.000Z"},"userId":42,"a":{"b":[1]}}`, `{"cookie":{"originalMaxAge":1e300,"expires":"x"},"pedro":{"s":1}}`,
		`{"cookie":{"expires":1}}`, `{"cookie":{"secure":"auto","sameSite":true},"userId":{"x":1}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := session.RecodeExpress(raw); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
	})
}
