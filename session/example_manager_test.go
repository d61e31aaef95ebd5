package session_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/sessions"
	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/session"
)

// login logs in the user that the path names: /login/ana.
func login(_ http.ResponseWriter, r *http.Request) {
	_ = session.SetAuthenticated(r.Context(), r.PathValue("user"), nil)
}

// The variables of the environment, of which SESSION_SECRET is enough.
func ExampleConfigFromEnv() {
	_ = os.Setenv("SESSION_IDLE_TIMEOUT", "20m")
	defer os.Unsetenv("SESSION_IDLE_TIMEOUT")
	cfg, err := session.ConfigFromEnv()
	fmt.Println(cfg.IdleTimeout, err)
	// Output: 20m0s <nil>
}

// What a request can ask of its session.
func ExampleFrom() {
	mux := http.NewServeMux()
	mux.HandleFunc("/login/{user}", login)
	mux.HandleFunc("/fill", func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		_ = session.Set(s, "theme", "dark")
		_ = session.Set(s, "cart", []int{7})
	})
	mux.HandleFunc("/show", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if err := s.Err(); err != nil { // it cannot be known whether there is one
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, s.IsNew(), s.Keys(), s.IsAuthenticated(), session.IsAuthenticated(r.Context()), s.AuthTime().IsZero())
	})
	mux.HandleFunc("/empty", func(_ http.ResponseWriter, r *http.Request) { session.From(r.Context()).Delete("cart") })
	mux.HandleFunc("/promote", func(_ http.ResponseWriter, r *http.Request) {
		_ = session.From(r.Context()).Regenerate() // a new ID, since the user may do more now
	})
	mux.HandleFunc("/delete-account", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if !s.RecentAuth(5 * time.Minute) {
			http.Error(w, "your password, please", http.StatusUnauthorized)
			return
		}
		if err := s.Destroy(); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	visit(session.Middleware(quiet())(mux), "/show", "/fill", "/show", "/empty", "/delete-account", "/login/ana", "/promote", "/show", "/delete-account", "/show")
	// Output:
	// /show 200 true [] false false true
	// /fill 200
	// /show 200 false [cart theme] false false true
	// /empty 200
	// /delete-account 401 your password, please
	// /login/ana 200
	// /promote 200
	// /show 200 false [theme] true true false
	// /delete-account 200
	// /show 200 true [] false false true
}

// One session, all of a user, and everybody's.
func ExampleManager_Revoke() {
	sessions := quiet()
	mux := http.NewServeMux()
	mux.HandleFunc("/login/{user}", login)
	mux.HandleFunc("/me", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, session.From(r.Context()).UserID()) })
	mux.HandleFunc("/end-this", func(w http.ResponseWriter, r *http.Request) {
		user := session.From(r.Context()).UserID()
		list, _ := sessions.Sessions(r.Context(), user)
		for _, s := range list {
			if s.Current {
				fmt.Fprint(w, sessions.Revoke(r.Context(), user, s.Ref))
			}
		}
	})
	mux.HandleFunc("/end-ana", func(w http.ResponseWriter, r *http.Request) {
		n, err := sessions.RevokeUser(r.Context(), "ana") // her account is closed
		fmt.Fprint(w, n, err)
	})
	mux.HandleFunc("/end-all", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, sessions.RevokeAll(r.Context())) // one command, however many there are
	})
	visit(session.Middleware(sessions)(mux), "/login/ana", "/end-this", "/me", "/login/ana", "/end-ana", "/me", "/login/ben", "/end-all", "/me")
	// Output:
	// /login/ana 200
	// /end-this 200 <nil>
	// /me 200
	// /login/ana 200
	// /end-ana 200 1 <nil>
	// /me 200
	// /login/ben 200
	// /end-all 200 <nil>
	// /me 200
}

// What a health check and a page for operators want to know.
func ExampleManager_Stats() {
	sessions := quiet()
	mux := http.NewServeMux()
	mux.HandleFunc("/login/{user}", login)
	visit(session.Middleware(sessions)(mux), "/login/ana")
	s := sessions.Stats()
	fmt.Println(sessions.Ping(context.Background()), s.Backend, s.Created, s.Logins, s.FallbackSince.IsZero())
	fmt.Println(sessions.Advice())
	// Output:
	// /login/ana 200
	// <nil> memory 1 1 true
	// [sessions are in memory only: give New a Redis client, or every restart logs everybody out]
}

// A session that shows up elsewhere, in another browser, has to log in again.
func ExampleWithBinding() {
	m, err := session.New(nil, session.Config{Secrets: []string{secret}}, session.WithLogger(slog.New(slog.DiscardHandler)),
		session.WithBinding(func(before, now session.Client) bool {
			return before.Network == now.Network || before.Family == now.Family // one of them may change
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/login/{user}", login)
	mux.HandleFunc("/me", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, session.From(r.Context()).UserID()) })
	visit(session.Middleware(m)(mux), "/login/ana", "/me")
	// Output:
	// /login/ana 200
	// /me 200 ana
}

// Any store of gorilla/sessions can keep the sessions.
func ExampleWithGorillaStore() {
	dir, err := os.MkdirTemp("", "sessions")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	m, err := session.New(nil, session.Config{Secrets: []string{secret}}, session.WithLogger(slog.New(slog.DiscardHandler)),
		session.WithGorillaStore(sessions.NewFilesystemStore(dir, []byte(secret))))
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/login/{user}", login)
	mux.HandleFunc("/me", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, session.From(r.Context()).UserID()) })
	visit(session.Middleware(m)(mux), "/login/ana", "/me")
	fmt.Println(m.Stats().Backend)
	// Output:
	// /login/ana 200
	// /me 200 ana
	// gorilla
}

// Sessions shared with Express, or taken over from redisstore.
func ExampleWithExpressSessions() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer client.Close()
	shared, err := session.New(client, session.Config{Secrets: []string{secret}, Name: "connect.sid"},
		session.WithLogger(slog.New(slog.DiscardHandler)),
		session.WithExpressSessions(session.ExpressConfig{UserKey: "userId", MaxAge: 24 * time.Hour}))
	fmt.Println(shared.Stats().Backend, err)

	moved, err := session.New(client, session.Config{Secrets: []string{secret}},
		session.WithLogger(slog.New(slog.DiscardHandler)),
		session.WithRedisstoreRecords(session.RedisstoreConfig{Name: "app", UserKey: "user"}))
	fmt.Println(moved.Stats().Backend, err)
	// Output:
	// express <nil>
	// redis <nil>
}
