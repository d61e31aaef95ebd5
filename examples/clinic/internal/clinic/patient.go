package clinic

import (
	"context"
	"errors"
	"net/mail"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
)

// A Patient is somebody who can have appointments.
type Patient struct {
	ID        int64      `db:"id"         json:"id"`
	Name      string     `db:"name"       json:"name"`
	Email     string     `db:"email"      json:"email"`
	Born      time.Time  `db:"born"       json:"born"`
	LastVisit *time.Time `db:"last_visit" json:"last_visit,omitempty"`
}

// NewPatient is what is entered of one.
type NewPatient struct {
	Name  string    `db:"name"`
	Email string    `db:"email"`
	Born  time.Time `db:"born"`

	line int // of the file that it comes from
}

// ParsePatient checks what was entered. born is a date such as 1987-03-21. The
// error is a *ProblemError.
func ParsePatient(name, email, born string) (NewPatient, error) {
	p := NewPatient{Name: strings.TrimSpace(name), Email: strings.ToLower(strings.TrimSpace(email))}
	if p.Name == "" || len(p.Name) > 200 || strings.ContainsRune(p.Name, 0) || !utf8.ValidString(p.Name) {
		return p, &ProblemError{Field: "name", Problem: "must have 1 to 200 characters, in UTF-8"}
	}
	if a, err := mail.ParseAddress(p.Email); err != nil || a.Address != p.Email || len(p.Email) > 200 || strings.ContainsRune(p.Email, 0) || !utf8.ValidString(p.Email) {
		return p, &ProblemError{Field: "email", Problem: "is no email address"}
	}
	var err error
	if p.Born, err = time.Parse(time.DateOnly, strings.TrimSpace(born)); err != nil {
		return p, &ProblemError{Field: "born", Problem: "must be a date such as 1987-03-21"}
	}
	if p.Born.After(time.Now()) || p.Born.Year() < 1900 {
		return p, &ProblemError{Field: "born", Problem: "must be between 1900 and today"}
	}
	return p, nil
}

// Patient returns one, from the cache if it is there.
func (s *Service) Patient(ctx context.Context, id int64) (Patient, error) {
	p, err := s.patients.Load(ctx, strconv.FormatInt(id, 10), func(ctx context.Context, _ string) (Patient, error) {
		p, err := pgpool.Get[Patient](ctx, s.db, "select id, name, email, born, last_visit from patients where id = $1", id)
		if errors.Is(err, pgpool.ErrNotFound) {
			return p, rediscache.ErrNotFound
		}
		return p, err
	})
	if errors.Is(err, rediscache.ErrNotFound) {
		return p, ErrNotFound
	}
	return p, err
}

// Patients returns up to limit patients whose name or email contains search, by
// name.
func (s *Service) Patients(ctx context.Context, search string, limit int) ([]Patient, error) {
	pattern := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(search) + "%"
	return pgpool.Select[Patient](ctx, s.db,
		"select id, name, email, born, last_visit from patients where name ilike $1 or email ilike $1 order by name, id limit $2", pattern, limit)
}

// CountPatients returns how many there are.
func (s *Service) CountPatients(ctx context.Context) (int64, error) {
	return pgpool.Get[int64](ctx, s.db, "select count(*) from patients")
}

// AddPatient returns ErrExists if there is one with this email.
func (s *Service) AddPatient(ctx context.Context, n NewPatient) (Patient, error) {
	p, err := pgpool.Transaction(ctx, s.db, func(ctx context.Context, tx pgx.Tx) (Patient, error) {
		p, err := pgpool.Get[Patient](ctx, tx,
			"insert into patients (name, email, born) values ($1, $2, $3) returning id, name, email, born, last_visit", n.Name, n.Email, n.Born)
		s.forget(ctx, p.ID) // somebody may have asked for it before it was there
		return p, err
	})
	if pgpool.IsUniqueViolation(err) {
		return p, ErrExists
	}
	return p, err
}

// UpdatePatient changes what was entered.
func (s *Service) UpdatePatient(ctx context.Context, id int64, n NewPatient) (Patient, error) {
	p, err := pgpool.Transaction(ctx, s.db, func(ctx context.Context, tx pgx.Tx) (Patient, error) {
		s.forget(ctx, id)
		return pgpool.Get[Patient](ctx, tx,
			"update patients set name = $2, email = $3, born = $4 where id = $1 returning id, name, email, born, last_visit", id, n.Name, n.Email, n.Born)
	})
	switch {
	case errors.Is(err, pgpool.ErrNotFound):
		return p, ErrNotFound
	case pgpool.IsUniqueViolation(err):
		return p, ErrExists
	default:
		return p, err
	}
}

// forget removes a patient from the cache, once the transaction of ctx stands:
// not before, when a reader would put the old one back, and not at all if it is
// rolled back.
func (s *Service) forget(ctx context.Context, id int64) {
	pgpool.AfterCommit(ctx, func(ctx context.Context) {
		_ = s.patients.Del(ctx, strconv.FormatInt(id, 10)) // lost only with Redis, and made up for when it is back
	})
}
