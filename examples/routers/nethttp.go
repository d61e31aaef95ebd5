package main

import (
	"fmt"
	"net/http"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/session"
)

// netHTTP is http.ServeMux. The handlers serve chi and gorilla/mux too, which
// take the same ones.
func netHTTP(a *app) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/health", health.Handler(a.checks))
	mux.Handle("/api/health/", health.Handler(a.checks))
	mux.HandleFunc("POST /login/{user}", func(w http.ResponseWriter, r *http.Request) { login(w, r, r.PathValue("user")) })
	mux.HandleFunc("POST /logout", logout)
	mux.HandleFunc("GET /visits", showVisits)
	mux.HandleFunc("GET /late", late)
	mux.HandleFunc("GET /late/value", lateValue)
	mux.HandleFunc("GET /events", sendEvents)
	mux.HandleFunc("GET /report", a.showReport)
	mux.Handle("GET /account", session.RequireAuthenticated(http.HandlerFunc(account)))
	return mux
}

func login(w http.ResponseWriter, r *http.Request, user string) {
	// Who this is has been checked here, in a service that is no example.
	if err := session.SetAuthenticated(r.Context(), user, map[string]any{"role": "nurse"}); err != nil {
		http.Error(w, "cannot log in at the moment", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func logout(w http.ResponseWriter, r *http.Request) {
	if err := session.ClearAuthentication(r.Context()); err != nil {
		http.Error(w, "cannot log out at the moment", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func account(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, session.From(r.Context()).UserID())
}

func showVisits(w http.ResponseWriter, r *http.Request) {
	n, err := visits(r.Context())
	if err != nil {
		http.Error(w, "cannot count", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprint(w, n)
}

func late(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "first byte")
	_ = http.NewResponseController(w).Flush()
	setLate(r.Context(), w)
}

func lateValue(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, wasLate(r.Context())) }

func sendEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	events(r.Context(), lifecycle.Draining(r.Context()), w, http.NewResponseController(w).Flush)
}

func (a *app) showReport(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, a.report(r.Context()))
}
