// Package api is the clinic for programs: JSON over HTTP.
package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/pedro-go/pedro/examples/clinic/internal/clinic"
	"github.com/pedro-go/pedro/session"
)

// The most that a request may send.
const (
	maxBody   = 64 << 10
	maxImport = 16 << 20
)

type api struct {
	clinic *clinic.Service
}

// Handler serves the API, whose paths begin with /api/. It needs
// session.Middleware around it.
func Handler(s *clinic.Service) http.Handler {
	a := &api{s}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/login", a.login)
	mux.HandleFunc("POST /api/logout", a.logout)
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /api/me":                   a.me,
		"GET /api/draft":                a.draft,
		"PUT /api/draft":                a.saveDraft,
		"GET /api/patients":             a.patients,
		"POST /api/patients":            a.addPatient,
		"GET /api/patients/{id}":        a.patient,
		"PUT /api/patients/{id}":        a.updatePatient,
		"POST /api/patients/import":     a.importPatients,
		"GET /api/appointments":         a.day,
		"POST /api/appointments":        a.book,
		"DELETE /api/appointments/{id}": a.cancel,
	} {
		mux.Handle(pattern, session.RequireAuthenticated(h))
	}
	return mux
}

func (a *api) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ Name, Password string }
	if !read(w, r, &in) {
		return
	}
	err := a.clinic.Login(r.Context(), in.Name, in.Password)
	if err == nil {
		err = session.SetAuthenticated(r.Context(), in.Name, map[string]any{"login_at": time.Now().UTC()})
	}
	if err != nil {
		fail(w, r, err)
		return
	}
	write(w, http.StatusOK, map[string]string{"name": in.Name})
}

func (a *api) logout(w http.ResponseWriter, r *http.Request) {
	if err := session.ClearAuthentication(r.Context()); err != nil {
		fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *api) me(w http.ResponseWriter, r *http.Request) {
	write(w, http.StatusOK, map[string]string{"name": session.From(r.Context()).UserID()})
}

// draft is what somebody has begun to write and not finished: it lives in the
// session, so that it is there on every page and gone with the logout.
type draft struct {
	Text string `json:"text"`
}

func (a *api) draft(w http.ResponseWriter, r *http.Request) {
	d, _ := session.Get[draft](session.From(r.Context()), "draft")
	write(w, http.StatusOK, d)
}

func (a *api) saveDraft(w http.ResponseWriter, r *http.Request) {
	var in draft
	if !read(w, r, &in) {
		return
	}
	if err := session.Set(session.From(r.Context()), "draft", in); err != nil {
		fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *api) patients(w http.ResponseWriter, r *http.Request) {
	list, err := a.clinic.Patients(r.Context(), r.URL.Query().Get("search"), 100)
	if err != nil {
		fail(w, r, err)
		return
	}
	write(w, http.StatusOK, list)
}

func (a *api) patient(w http.ResponseWriter, r *http.Request) {
	id, ok := number(w, r)
	if !ok {
		return
	}
	p, err := a.clinic.Patient(r.Context(), id)
	if err != nil {
		fail(w, r, err)
		return
	}
	write(w, http.StatusOK, p)
}

// patientInput is a patient as programs send it.
type patientInput struct {
	Name  string `json:"name"`
	Email string `json:"email"`
	Born  string `json:"born"`
}

func (in patientInput) parse() (clinic.NewPatient, error) {
	return clinic.ParsePatient(in.Name, in.Email, in.Born)
}

func (a *api) addPatient(w http.ResponseWriter, r *http.Request) {
	var in patientInput
	if !read(w, r, &in) {
		return
	}
	n, err := in.parse()
	var p clinic.Patient
	if err == nil {
		p, err = a.clinic.AddPatient(r.Context(), n)
	}
	if err != nil {
		fail(w, r, err)
		return
	}
	write(w, http.StatusCreated, p)
}

func (a *api) updatePatient(w http.ResponseWriter, r *http.Request) {
	id, ok := number(w, r)
	var in patientInput
	if !ok || !read(w, r, &in) {
		return
	}
	n, err := in.parse()
	var p clinic.Patient
	if err == nil {
		p, err = a.clinic.UpdatePatient(r.Context(), id, n)
	}
	if err != nil {
		fail(w, r, err)
		return
	}
	write(w, http.StatusOK, p)
}

// importPatients takes a CSV file as the body and answers with a line of JSON
// for each step of the progress; the last has the outcome.
func (a *api) importPatients(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	lines := json.NewEncoder(w)
	streaming := false
	n, err := a.clinic.Import(r.Context(), http.MaxBytesReader(w, r.Body, maxImport), func(done, total int) {
		streaming = true
		_ = lines.Encode(map[string]int{"done": done, "total": total})
		_ = rc.Flush()
	})
	switch {
	case err != nil && streaming: // the status is sent: the last line has to say it
		_ = lines.Encode(problem(err))
	case err != nil:
		fail(w, r, err)
	default:
		_ = lines.Encode(map[string]int64{"imported": n})
	}
}

func (a *api) day(w http.ResponseWriter, r *http.Request) {
	day := time.Now()
	if s := r.URL.Query().Get("day"); s != "" {
		var err error
		if day, err = time.Parse(time.DateOnly, s); err != nil {
			fail(w, r, &clinic.ProblemError{Field: "day", Problem: "must be a date such as 2026-03-21"})
			return
		}
	}
	slots, err := a.clinic.Day(r.Context(), day)
	if err != nil {
		fail(w, r, err)
		return
	}
	write(w, http.StatusOK, slots)
}

func (a *api) book(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Doctor    string    `json:"doctor"`
		StartsAt  time.Time `json:"starts_at"`
		PatientID int64     `json:"patient_id"`
	}
	if !read(w, r, &in) {
		return
	}
	appointment, err := a.clinic.Book(r.Context(), in.Doctor, in.StartsAt, in.PatientID, session.From(r.Context()).UserID())
	if err != nil {
		fail(w, r, err)
		return
	}
	write(w, http.StatusCreated, appointment)
}

func (a *api) cancel(w http.ResponseWriter, r *http.Request) {
	id, ok := number(w, r)
	if !ok {
		return
	}
	if err := a.clinic.Cancel(r.Context(), id); err != nil {
		fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// number reads the id of the path.
func number(w http.ResponseWriter, r *http.Request) (int64, bool) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		fail(w, r, clinic.ErrNotFound)
	}
	return id, err == nil
}

// read decodes the body, which must be one JSON object with known fields.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil && d.More() {
		err = errors.New("there is more than one value")
	}
	if err != nil {
		fail(w, r, jsonProblem(err))
	}
	return err == nil
}
