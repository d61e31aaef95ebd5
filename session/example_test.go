package session_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/pedro-go/pedro/session"
)

// quiet is a manager in memory for the examples; yours gets a Redis client.
func quiet() *session.Manager {
	m, err := session.New(nil, session.Config{Secrets: []string{secret}}, session.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	return m
}

// visit asks for pages one after another with one cookie jar.
func visit(h http.Handler, paths ...string) {
	s := httptest.NewServer(h)
	defer s.Close()
	jar, _ := cookiejar.New(nil)
	c := &http.Client{Jar: jar}
	for _, path := range paths {
		res, err := c.Get(s.URL + path)
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		fmt.Println(strings.TrimSpace(fmt.Sprintln(path, res.StatusCode, string(body))))
	}
}

func Example() {
	m := quiet()
	if err := m.Start(context.Background()); err != nil {
		panic(err)
	}
	defer func() { _ = m.Stop(context.Background()) }()

	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		// after the password was checked
		if err := session.SetAuthenticated(r.Context(), "ada", map[string]any{"role": "nurse"}); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
		}
	})
	mux.Handle("/me", session.RequireAuthenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		role, _ := session.Get[string](s, "role")
		fmt.Fprintf(w, "%s, %s", s.UserID(), role)
	})))
	visit(session.Middleware(m)(mux), "/login", "/me")
	// Output:
	// /login 200
	// /me 200 ada, nurse
}

// Forged requests from other sites are refused before the session is looked at.
func ExampleMiddleware() {
	m := quiet()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	handler := session.Middleware(m)(http.NewCrossOriginProtection().Handler(mux))

	r := httptest.NewRequest(http.MethodPost, "https://clinic.example/", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output: 403
}

// A counter misses nothing, however many requests count at once.
func ExampleUpdate() {
	handler := session.Middleware(quiet())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		_ = session.Update(s, "visits", func(n int) int { return n + 1 })
		n, _ := session.Get[int](s, "visits")
		fmt.Fprint(w, n)
	}))
	visit(handler, "/", "/", "/")
	// Output:
	// / 200 1
	// / 200 2
	// / 200 3
}

// A message for the next page.
func ExamplePop() {
	mux := http.NewServeMux()
	mux.HandleFunc("/save", func(_ http.ResponseWriter, r *http.Request) {
		_ = session.Set(session.From(r.Context()), "notice", "Saved.")
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		notice, _ := session.Pop[string](session.From(r.Context()), "notice")
		fmt.Fprintf(w, "%q", notice)
	})
	visit(session.Middleware(quiet())(mux), "/save", "/page", "/page")
	// Output:
	// /save 200
	// /page 200 "Saved."
	// /page 200 ""
}

// What matters wants a login of the last ten minutes.
func ExampleRequireRecent() {
	change := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "changed") })
	mux := http.NewServeMux()
	mux.Handle("/password", session.RequireRecent(10*time.Minute)(change))
	visit(session.Middleware(quiet())(mux), "/password")
	// Output: /password 401 log in first
}

// Code for gorilla/sessions goes on as it is.
func ExampleManager_GorillaStore() {
	store := quiet().GorillaStore()
	visit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := store.Get(r, "app")
		if err != nil { // it cannot be known whether there is one
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		n, _ := s.Values["n"].(int)
		s.Values["n"] = n + 1
		if err := s.Save(r, w); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, n)
	}), "/", "/")
	// Output:
	// / 200 0
	// / 200 1
}
