package main

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/session"
)

// gorillaMux is gorilla/mux: handlers and middleware are net/http's.
func gorillaMux(a *app) http.Handler {
	r := mux.NewRouter()
	r.PathPrefix("/api/health").Handler(health.Handler(a.checks))
	r.HandleFunc("/login/{user}", func(w http.ResponseWriter, r *http.Request) { login(w, r, mux.Vars(r)["user"]) }).Methods(http.MethodPost)
	r.HandleFunc("/logout", logout).Methods(http.MethodPost)
	r.HandleFunc("/visits", showVisits).Methods(http.MethodGet)
	r.HandleFunc("/late", late).Methods(http.MethodGet)
	r.HandleFunc("/late/value", lateValue).Methods(http.MethodGet)
	r.HandleFunc("/events", sendEvents).Methods(http.MethodGet)
	r.HandleFunc("/report", a.showReport).Methods(http.MethodGet)
	members := r.NewRoute().Subrouter()
	members.Use(session.RequireAuthenticated)
	members.HandleFunc("/account", account).Methods(http.MethodGet)
	return r
}
