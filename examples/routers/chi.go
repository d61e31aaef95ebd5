package main

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/session"
)

// chiRouter is go-chi/chi: handlers and middleware are net/http's.
func chiRouter(a *app) http.Handler {
	r := chi.NewRouter()
	r.Mount("/api/health", health.Handler(a.checks))
	r.Post("/login/{user}", func(w http.ResponseWriter, r *http.Request) { login(w, r, chi.URLParam(r, "user")) })
	r.Post("/logout", logout)
	r.Get("/visits", showVisits)
	r.Get("/late", late)
	r.Get("/late/value", lateValue)
	r.Get("/events", sendEvents)
	r.Get("/report", a.showReport)
	r.Group(func(r chi.Router) {
		r.Use(session.RequireAuthenticated)
		r.Get("/account", account)
	})
	return r
}
