// Package pages is the clinic for people: HTML made on the server, that works
// without script.
package pages

import (
	"cmp"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pedro-go/pedro/examples/clinic/internal/clinic"
	"github.com/pedro-go/pedro/session"
)

//go:embed *.html style.css
var files embed.FS

// The most that a form or a file may send.
const (
	maxForm   = 64 << 10
	maxImport = 16 << 20
)

type pages struct {
	clinic   *clinic.Service
	sessions *session.Manager
	hint     string
	byName   map[string]*template.Template
}

// Handler serves the pages. It needs session.Middleware around it. hint is
// shown on the login page; it is for demonstrations.
func Handler(s *clinic.Service, sessions *session.Manager, hint string) http.Handler {
	p := &pages{clinic: s, sessions: sessions, hint: hint, byName: map[string]*template.Template{}}
	for _, name := range []string{"login", "day", "patients", "patient", "account", "problem"} {
		p.byName[name] = template.Must(template.ParseFS(files, "layout.html", name+".html"))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		http.ServeFileFS(w, r, files, "style.css")
	})
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) { p.show(w, r, http.StatusOK, "login", p.hint) })
	mux.HandleFunc("POST /login", p.login)
	mux.HandleFunc("POST /logout", p.logout)
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /{$}":                       p.day,
		"POST /appointments":             p.book,
		"POST /appointments/{id}/cancel": p.cancel,
		"GET /patients":                  p.patients,
		"POST /patients":                 p.addPatient,
		"POST /patients/import":          p.importPatients,
		"GET /patients/{id}":             p.patient,
		"POST /patients/{id}":            p.updatePatient,
		"GET /account":                   p.account,
		"POST /account/sessions/revoke":  p.revoke,
	} {
		mux.Handle(pattern, p.loggedIn(h))
	}
	return mux
}

// view is what every page gets.
type view struct {
	Title  string
	User   string
	Notice string // of the request before: a flash
	Data   any
}

var titles = map[string]string{
	"login": "Log in", "day": "Appointments", "patients": "Patients", "patient": "Patient", "account": "Your sessions", "problem": "That did not work",
}

func (p *pages) show(w http.ResponseWriter, r *http.Request, code int, name string, data any) {
	s := session.From(r.Context())
	v := view{Title: titles[name], User: s.UserID(), Data: data}
	if v.User != "" {
		v.Notice, _ = session.Pop[string](s, "notice")
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(code)
	if err := p.byName[name].ExecuteTemplate(w, "layout.html", v); err != nil && r.Context().Err() == nil {
		slog.ErrorContext(r.Context(), "page failed", "page", name, "error", err)
	}
}

// loggedIn sends those who are not to the login page. While it cannot be known,
// it says so instead: nobody is logged out by an outage.
func (p *pages) loggedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		switch {
		case s.IsAuthenticated():
			next.ServeHTTP(w, r)
		case errors.Is(s.Err(), session.ErrUnavailable):
			w.Header().Set("Retry-After", "1")
			p.show(w, r, http.StatusServiceUnavailable, "problem", "We cannot look up your session at the moment. Please try again in a second.")
		default:
			http.Redirect(w, r, "/login", http.StatusSeeOther)
		}
	})
}

// done sends the browser on after a change, with a notice for the next page.
func (p *pages) done(w http.ResponseWriter, r *http.Request, to, notice string) {
	if err := session.Set(session.From(r.Context()), "notice", notice); err != nil {
		slog.WarnContext(r.Context(), "notice lost", "error", err)
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// fail shows what went wrong.
func (p *pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	code, text := http.StatusInternalServerError, "Something is wrong with us. Please try again in a moment."
	problem, isProblem := errors.AsType[*clinic.ProblemError](err)
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case isProblem:
		code, text = http.StatusUnprocessableEntity, problem.Error()
	case tooLarge:
		code, text = http.StatusRequestEntityTooLarge, "The file is too large: 16 MB at most."
	case errors.Is(err, clinic.ErrTaken):
		code, text = http.StatusConflict, "Somebody else has just booked this slot."
	case errors.Is(err, clinic.ErrExists):
		code, text = http.StatusConflict, "There is a patient with this email already."
	case errors.Is(err, clinic.ErrNotFound):
		code, text = http.StatusNotFound, "There is no such thing here."
	default:
		slog.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	p.show(w, r, code, "problem", text)
}

// form reads the form of a request, or answers and returns false.
func (p *pages) form(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.fail(w, r, &clinic.ProblemError{Problem: "the form cannot be read"})
		return false
	}
	return true
}

func (p *pages) login(w http.ResponseWriter, r *http.Request) {
	if !p.form(w, r) {
		return
	}
	name := r.PostForm.Get("name")
	err := p.clinic.Login(r.Context(), name, r.PostForm.Get("password"))
	if errors.Is(err, clinic.ErrLogin) {
		p.show(w, r, http.StatusUnauthorized, "login", "Wrong name or password. "+p.hint)
		return
	}
	if err == nil {
		err = session.SetAuthenticated(r.Context(), name, map[string]any{"login_at": time.Now().UTC()})
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (p *pages) logout(w http.ResponseWriter, r *http.Request) {
	if err := session.ClearAuthentication(r.Context()); err != nil {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// dayData is what the page of a day shows.
type dayData struct {
	Day, Before, After string
	Slots              []clinic.Slot
	Patients           []clinic.Patient
}

func (p *pages) day(w http.ResponseWriter, r *http.Request) {
	day, err := time.Parse(time.DateOnly, cmp.Or(r.URL.Query().Get("day"), time.Now().UTC().Format(time.DateOnly)))
	if err != nil {
		p.fail(w, r, &clinic.ProblemError{Field: "day", Problem: "must be a date such as 2026-03-21"})
		return
	}
	d := dayData{
		Day:    day.Format(time.DateOnly),
		Before: day.AddDate(0, 0, -1).Format(time.DateOnly),
		After:  day.AddDate(0, 0, 1).Format(time.DateOnly),
	}
	if d.Slots, err = p.clinic.Day(r.Context(), day); err == nil {
		d.Patients, err = p.clinic.Patients(r.Context(), "", 50)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "day", d)
}

func (p *pages) book(w http.ResponseWriter, r *http.Request) {
	if !p.form(w, r) {
		return
	}
	at, err1 := time.Parse(time.RFC3339, r.PostForm.Get("starts_at"))
	patient, err2 := strconv.ParseInt(r.PostForm.Get("patient_id"), 10, 64)
	if err1 != nil || err2 != nil {
		p.fail(w, r, &clinic.ProblemError{Problem: "choose a slot and a patient"})
		return
	}
	a, err := p.clinic.Book(r.Context(), r.PostForm.Get("doctor"), at, patient, session.From(r.Context()).UserID())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.done(w, r, "/?day="+at.UTC().Format(time.DateOnly), "Booked "+a.Doctor+" at "+at.UTC().Format("15:04")+".")
}

func (p *pages) cancel(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || !p.form(w, r) {
		p.fail(w, r, clinic.ErrNotFound)
		return
	}
	if err := p.clinic.Cancel(r.Context(), id); err != nil {
		p.fail(w, r, err)
		return
	}
	p.done(w, r, "/?day="+url.QueryEscape(r.PostForm.Get("day")), "Cancelled.")
}

// patientsData is what the list of patients shows.
type patientsData struct {
	Search   string
	Patients []clinic.Patient
	Total    int64
}

func (p *pages) patients(w http.ResponseWriter, r *http.Request) {
	d := patientsData{Search: r.URL.Query().Get("search")}
	var err error
	if d.Patients, err = p.clinic.Patients(r.Context(), d.Search, 50); err == nil {
		d.Total, err = p.clinic.CountPatients(r.Context())
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "patients", d)
}

func (p *pages) addPatient(w http.ResponseWriter, r *http.Request) {
	if !p.form(w, r) {
		return
	}
	n, err := clinic.ParsePatient(r.PostForm.Get("name"), r.PostForm.Get("email"), r.PostForm.Get("born"))
	var patient clinic.Patient
	if err == nil {
		patient, err = p.clinic.AddPatient(r.Context(), n)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.done(w, r, "/patients/"+strconv.FormatInt(patient.ID, 10), "Added.")
}

func (p *pages) patient(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		p.fail(w, r, clinic.ErrNotFound)
		return
	}
	patient, err := p.clinic.Patient(r.Context(), id)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "patient", patient)
}

func (p *pages) updatePatient(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || !p.form(w, r) {
		p.fail(w, r, clinic.ErrNotFound)
		return
	}
	n, err := clinic.ParsePatient(r.PostForm.Get("name"), r.PostForm.Get("email"), r.PostForm.Get("born"))
	if err == nil {
		_, err = p.clinic.UpdatePatient(r.Context(), id, n)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.done(w, r, "/patients/"+strconv.FormatInt(id, 10), "Saved.")
}

func (p *pages) importPatients(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxImport)
	file, _, err := r.FormFile("file")
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); !ok {
			err = &clinic.ProblemError{Field: "file", Problem: "choose a CSV file"}
		}
		p.fail(w, r, err)
		return
	}
	defer file.Close()
	n, err := p.clinic.Import(r.Context(), file, nil)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.done(w, r, "/patients", "Imported "+strconv.FormatInt(n, 10)+" patients.")
}

func (p *pages) account(w http.ResponseWriter, r *http.Request) {
	list, err := p.sessions.Sessions(r.Context(), session.From(r.Context()).UserID())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "account", list)
}

func (p *pages) revoke(w http.ResponseWriter, r *http.Request) {
	if !p.form(w, r) {
		return
	}
	if err := p.sessions.Revoke(r.Context(), session.From(r.Context()).UserID(), r.PostForm.Get("ref")); err != nil {
		p.fail(w, r, err)
		return
	}
	p.done(w, r, "/account", "That session has ended.")
}
