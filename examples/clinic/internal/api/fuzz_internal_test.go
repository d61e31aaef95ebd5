package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzBody: whatever is sent as a body is read, or refused with a status of the
// caller's and a JSON object that says why.
func FuzzBody(f *testing.F) {
	for _, body := range []string{
		"", "{}", "null", "[]", "{", `{"doctor":"d","starts_at":"2026-03-21T10:00:00Z","patient_id":1}`, `{"doctor":1}`, `{"starts_at":"x"}`, `{"unknown":1}`,
		`{} {}`, `{"patient_id":1e99}`, `{"doctor":"\ud800"}`, "\xff",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, into := range []any{
			&struct{ Name, Password string }{},
			new(draft),
			&struct {
				Doctor    string    `json:"doctor"`
				StartsAt  time.Time `json:"starts_at"`
				PatientID int64     `json:"patient_id"`
			}{},
		} {
			w := httptest.NewRecorder()
			if read(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), into) {
				if w.Body.Len() > 0 {
					t.Errorf("%q was read, and answered with %s", body, w.Body)
				}
				continue
			}
			var said struct{ Error string }
			if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil || said.Error == "" || w.Code != http.StatusBadRequest && w.Code != http.StatusRequestEntityTooLarge {
				t.Errorf("%q: got %d %s, want 400 or 413 and why", body, w.Code, w.Body)
			}
		}
	})
}
