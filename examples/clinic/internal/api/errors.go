package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/pedro-go/pedro/examples/clinic/internal/clinic"
	"github.com/pedro-go/pedro/session"
)

// body is what a failure looks like to programs.
type body struct {
	Error string `json:"error"`
	Field string `json:"field,omitempty"`
	Line  int    `json:"line,omitempty"`
}

// problem puts an error into words for the caller. What is not the caller's
// doing is not his business either.
func problem(err error) body {
	if p, ok := errors.AsType[*clinic.ProblemError](err); ok {
		return body{Error: p.Error(), Field: p.Field, Line: p.Line}
	}
	if status(err) < http.StatusInternalServerError {
		return body{Error: err.Error()}
	}
	return body{Error: http.StatusText(status(err))}
}

func status(err error) int {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge
	}
	if p, ok := errors.AsType[*clinic.ProblemError](err); ok {
		if p.Line > 0 {
			return http.StatusUnprocessableEntity
		}
		return http.StatusBadRequest
	}
	switch {
	case errors.Is(err, clinic.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, clinic.ErrTaken), errors.Is(err, clinic.ErrExists):
		return http.StatusConflict
	case errors.Is(err, clinic.ErrLogin):
		return http.StatusUnauthorized
	case errors.Is(err, session.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

func fail(w http.ResponseWriter, r *http.Request, err error) {
	code := status(err)
	if code >= http.StatusInternalServerError && r.Context().Err() == nil {
		slog.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	write(w, code, problem(err))
}

func write(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // who does not listen any more needs no answer
}

// jsonProblem says where a body is wrong.
func jsonProblem(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &clinic.ProblemError{Field: e.Field, Problem: fmt.Sprintf("must be of another type (byte %d)", e.Offset)}
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &clinic.ProblemError{Problem: fmt.Sprintf("the body is no JSON (byte %d)", e.Offset)}
	}
	return &clinic.ProblemError{Problem: "the body is not the JSON object that is expected: " + err.Error()}
}
