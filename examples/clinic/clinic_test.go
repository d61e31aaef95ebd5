package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/pedro-go/pedro/examples/clinic/internal/clinic"
	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/internal/leakcheck"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	leakcheck.Main(m, func() { _ = pgpooltest.Close() })
}

// site is the clinic on real servers, in this process.
type site struct {
	t      *testing.T
	url    string
	client *http.Client
	pool   *pgpool.Pool
}

func newSite(t *testing.T) *site {
	t.Helper()
	pool, err := pgpool.New(pgpool.Config{URL: pgpooltest.Start(t)})
	if err != nil {
		t.Fatal(err)
	}
	cache, err := rediscache.New(rediscache.Config{URL: rediscachetest.Start(t), Required: true})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := session.New(cache.Redis(), session.Config{Secrets: []string{strings.Repeat("s", 40)}})
	if err != nil {
		t.Fatal(err)
	}
	checks, err := health.New(health.Config{})
	if err != nil {
		t.Fatal(err)
	}
	addChecks(checks, pool, cache, sessions)
	service := clinic.New(pool, cache)
	cfg := config{User: "reception"}
	for _, c := range []interface {
		Start(ctx context.Context) error
		Stop(ctx context.Context) error
	}{pool, cache, sessions, checks} {
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	if err := prepare(t.Context(), pool, service, cfg); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(handler(service, sessions, checks, cfg))
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := srv.Client()
	client.Jar = jar
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &site{t, srv.URL, client, pool}
}

// do sends a request and returns the status and the body.
func (s *site) do(method, path, contentType, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func (s *site) login() {
	s.t.Helper()
	if code, body := s.do(http.MethodPost, "/api/login", "", `{"name":"reception","password":"demo"}`); code != http.StatusOK {
		s.t.Fatalf("login: %d %s", code, body)
	}
}

func (s *site) count(table string) int64 {
	s.t.Helper()
	n, err := pgpool.Get[int64](s.t.Context(), s.pool, "select count(*) from "+table)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

const (
	form = "application/x-www-form-urlencoded"
	good = "name,email,born\nAda,ada@example.com,1990-12-10\n"
)

// TestBadInput sends what people and programs get wrong. Each is told what it
// is, and nothing is stored.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.login()
	large, huge := strings.Repeat("x", 100<<10), strings.Repeat("x", 17<<20) // beyond what a form may have, and a file
	file := func(content string) (contentType, body string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		part, err := w.CreateFormFile("file", "patients.csv")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(part, content)
		_ = w.Close()
		return w.FormDataContentType(), b.String()
	}
	fileType, badFile := file(good + "Bob,bob@example.com,tomorrow\n")
	hugeType, hugeFile := file(huge)
	for _, test := range []struct {
		name, method, path, contentType, body string
		code                                  int
		want                                  string
	}{
		{"no JSON", "POST", "/api/patients", "", "{", 400, "is not the JSON object that is expected"},
		{"broken JSON", "POST", "/api/patients", "", `{"name":}`, 400, "the body is no JSON (byte 9)"},
		{"wrong type", "POST", "/api/patients", "", `{"name":7}`, 400, "name: must be of another type"},
		{"unknown field", "POST", "/api/patients", "", `{"nam":"x"}`, 400, `unknown field \"nam\"`},
		{"two values", "POST", "/api/patients", "", `{} {}`, 400, "more than one value"},
		{"too large", "POST", "/api/patients", "", `{"name":"` + large + `"}`, 413, "request body too large"},
		{"no name", "POST", "/api/patients", "", `{"email":"a@b.c","born":"1990-01-01"}`, 400, "name: must have 1 to 200 characters"},
		{"NUL", "POST", "/api/patients", "", `{"name":"a\u0000","email":"a@b.c","born":"1990-01-01"}`, 400, "name: must have"},
		{"no email", "POST", "/api/patients", "", `{"name":"a","email":"b","born":"1990-01-01"}`, 400, "email: is no email address"},
		{"email with a name", "POST", "/api/patients", "", `{"name":"a","email":"a <a@b.c>","born":"1990-01-01"}`, 400, "email: is no email address"},
		{"no date", "POST", "/api/patients", "", `{"name":"a","email":"a@b.c","born":"01.01.1990"}`, 400, "born: must be a date"},
		{"not born yet", "POST", "/api/patients", "", `{"name":"a","email":"a@b.c","born":"2999-01-01"}`, 400, "born: must be between"},
		{"no such patient", "GET", "/api/patients/99", "", "", 404, "not found"},
		{"no number", "GET", "/api/patients/x", "", "", 404, "not found"},
		{"no such doctor", "POST", "/api/appointments", "", `{"doctor":"Dr. No","starts_at":"2031-01-01T09:00:00Z","patient_id":1}`, 400, "doctor: is not one of ours"},
		{"no slot", "POST", "/api/appointments", "", `{"doctor":"Dr. Bento","starts_at":"2031-01-01T09:10:00Z","patient_id":1}`, 400, "starts_at: must be a half hour"},
		{"at night", "POST", "/api/appointments", "", `{"doctor":"Dr. Bento","starts_at":"2031-01-01T03:00:00Z","patient_id":1}`, 400, "starts_at: must be a half hour"},
		{"nobody's slot", "POST", "/api/appointments", "", `{"doctor":"Dr. Bento","starts_at":"2031-01-01T09:00:00Z","patient_id":99}`, 404, "not found"},
		{"bad day", "GET", "/api/appointments?day=x", "", "", 400, "day: must be a date"},

		{"no CSV", "POST", "/api/patients/import", "", "", 422, "line 1: must be the header name,email,born"},
		{"other header", "POST", "/api/patients/import", "", "a,b,c\n", 422, "line 1: must be the header"},
		{"header alone", "POST", "/api/patients/import", "", "name,email,born\n", 422, "line 1: is the header, and no patient follows it"},
		{"short line", "POST", "/api/patients/import", "", good + "Bob,bob@example.com\n", 422, "line 3: must have 3 fields"},
		{"bad quote", "POST", "/api/patients/import", "", good + "\"Bob,bob@example.com,1990-01-01\n", 422, "is no CSV"},
		{"bad date", "POST", "/api/patients/import", "", good + "Bob,bob@example.com,tomorrow\n", 422, "line 3, born: must be a date"},
		{"twice in the file", "POST", "/api/patients/import", "", good + "Eve,ADA@example.com,1990-01-01\n", 422, "line 3, email: is the same as on line 2"},
		{"line after a long one", "POST", "/api/patients/import", "", "name,email,born\n\"A\nB\",a@example.com,1990-01-01\nC,c@example.com,x\n", 422, "line 4, born"},
		{"file too large", "POST", "/api/patients/import", "", "name,email,born\n" + huge, 413, "request body too large"},

		{"form without a slot", "POST", "/appointments", form, "patient_id=1", 422, "choose a slot and a patient"},
		{"broken form", "POST", "/appointments", form, "%zz", 422, "the form cannot be read"},
		{"form too large", "POST", "/patients", form, "name=" + large, 422, "the form cannot be read"},
		{"page of nobody", "GET", "/patients/99", "", "", 404, "There is no such thing here."},
		{"page of nothing", "GET", "/patients/x", "", "", 404, "There is no such thing here."},
		{"page with a bad day", "GET", "/?day=x", "", "", 422, "day: must be a date"},
		{"form without a file", "POST", "/patients/import", form, "x=1", 422, "choose a CSV file"},
		{"file with a mistake", "POST", "/patients/import", fileType, badFile, 422, "line 3, born: must be a date"},
		{"huge file", "POST", "/patients/import", hugeType, hugeFile, 413, "16 MB at most"},
	} {
		code, body := s.do(test.method, test.path, test.contentType, test.body)
		if code != test.code || !strings.Contains(body, test.want) {
			t.Errorf("%s: %d %.200s, want %d with %q", test.name, code, body, test.code, test.want)
		}
	}
	if patients, appointments := s.count("patients"), s.count("appointments"); patients != 0 || appointments != 0 {
		t.Errorf("%d patients and %d appointments were stored, want none", patients, appointments)
	}
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.login()
	if code, body := s.do("POST", "/api/patients/import", "", good+"Bob,bob@example.com,1990-01-01\n"); code != 200 || !strings.HasSuffix(body, "{\"imported\":2}\n") {
		t.Fatalf("import: %d %s", code, body)
	}
	if code, body := s.do("POST", "/api/patients/import", "", "name,email,born\nEve,eve@example.com,1990-01-01\nBob,bob@example.com,1990-01-01\n"); !strings.Contains(body, "line 3, email: a patient with this email exists") {
		t.Errorf("import of somebody who is there: %d %s", code, body)
	}
	if code, _ := s.do("POST", "/api/patients", "", `{"name":"B","email":"bob@example.com","born":"1990-01-01"}`); code != 409 {
		t.Errorf("somebody who is there: %d, want 409", code)
	}
	if n := s.count("patients"); n != 2 {
		t.Errorf("%d patients, want 2", n)
	}
	const booking = `{"doctor":"Dr. Bento","starts_at":"2031-01-01T09:00:00Z","patient_id":1}`
	for i, want := range []int{201, 409} {
		if code, body := s.do("POST", "/api/appointments", "", booking); code != want {
			t.Errorf("booking %d: %d %s, want %d", i+1, code, body, want)
		}
	}
	if code, _ := s.do("DELETE", "/api/appointments/1", "", ""); code != 204 {
		t.Errorf("cancel: %d, want 204", code)
	}
	if code, body := s.do("POST", "/api/appointments", "", booking); code != 201 {
		t.Errorf("booking of a slot that is free again: %d %s", code, body)
	}
}

// TestCacheIsCommitSafe reads a patient before, between and after changes.
func TestCacheIsCommitSafe(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.login()
	if code, _ := s.do("GET", "/api/patients/1", "", ""); code != 404 { // remembered as not there
		t.Fatalf("before: %d, want 404", code)
	}
	_, _ = s.do("POST", "/api/patients", "", `{"name":"Ada","email":"ada@example.com","born":"1990-01-01"}`)
	for i := range 5 {
		name := fmt.Sprintf("Ada %d", i)
		_, _ = s.do("PUT", "/api/patients/1", "", `{"name":"`+name+`","email":"ada@example.com","born":"1990-01-01"}`)
		if _, body := s.do("GET", "/api/patients/1", "", ""); !strings.Contains(body, name) {
			t.Errorf("after the change to %s: %s", name, body)
		}
	}
	// One that fails changes nothing, and the cache neither.
	_, _ = s.do("POST", "/api/patients", "", `{"name":"Bob","email":"bob@example.com","born":"1990-01-01"}`)
	if code, _ := s.do("PUT", "/api/patients/1", "", `{"name":"Z","email":"bob@example.com","born":"1990-01-01"}`); code != 409 {
		t.Errorf("a change to somebody else's email: %d, want 409", code)
	}
	if _, body := s.do("GET", "/api/patients/1", "", ""); !strings.Contains(body, "Ada 4") {
		t.Errorf("after a change that failed: %s", body)
	}
}

func TestStrangers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for path, want := range map[string]int{
		"/api/me": 401, "/api/patients": 401, "/": 303, "/patients": 303, "/account": 303, "/login": 200, "/style.css": 200,
		"/api/health/live": 200, "/api/health/ready": 200, "/nothing": 404,
	} {
		if code, body := s.do("GET", path, "", ""); code != want {
			t.Errorf("%s: %d %.100s, want %d", path, code, body, want)
		}
	}
	if code, body := s.do("POST", "/login", form, url.Values{"name": {"reception"}, "password": {"guess"}}.Encode()); code != 401 || !strings.Contains(body, "Wrong name or password") {
		t.Errorf("a wrong password: %d %s", code, body)
	}
	if code, _ := s.do("POST", "/api/login", "", `{"name":"nobody","password":"demo"}`); code != 401 {
		t.Errorf("an unknown name: %d, want 401", code)
	}
	// From another site, with the browser's word for it.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/login", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a request from another site: %d, want 403", resp.StatusCode)
	}
}

// TestWrongVariables starts the program with several mistakes: it names them
// all, and shows no value.
func TestWrongVariables(t *testing.T) {
	for name, value := range map[string]string{
		"DATABASE_URL": "postgres://u:canary@h:port/db", "DB_POOL_MAX": "canary", "DB_QUERY_TIMEOUT": "canary",
		"REDIS_PORT": "canary", "REDIS_REQUIRED": "canary", "REDIS_PASSWORD": "canary", "APP_ENV": "production", "SESSION_SECRET": "canary",
	} {
		t.Setenv(name, value)
	}
	err := run(t.Context())
	if err == nil {
		t.Fatal("it runs")
	}
	for _, name := range []string{"DB_POOL_MAX", "DB_QUERY_TIMEOUT", "REDIS_PORT", "REDIS_REQUIRED"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s:\n%v", name, err)
		}
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the error shows a value:\n%v", err)
	}
	for _, name := range []string{"DB_POOL_MAX", "DB_QUERY_TIMEOUT", "REDIS_PORT", "REDIS_REQUIRED", "APP_ENV"} {
		_ = os.Unsetenv(name) // t.Setenv brings it back
	}
	err = run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "DATABASE_URL") || strings.Contains(err.Error(), "canary") {
		t.Errorf("with a bad URL: %v, want an error that names DATABASE_URL and shows no value", err)
	}
}
