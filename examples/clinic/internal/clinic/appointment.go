package clinic

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

// Doctors are those who can be booked.
var Doctors = []string{"Dr. Alvarez", "Dr. Bento"}

// The day of a doctor, in UTC: half-hour slots.
const (
	opens  = 8
	closes = 16
	slot   = 30 * time.Minute
)

// An Appointment is a booked slot.
type Appointment struct {
	ID        int64     `db:"id"         json:"id"`
	Doctor    string    `db:"doctor"     json:"doctor"`
	StartsAt  time.Time `db:"starts_at"  json:"starts_at"`
	PatientID int64     `db:"patient_id" json:"patient_id"`
	Patient   string    `db:"patient"    json:"patient,omitempty"`
	BookedBy  string    `db:"booked_by"  json:"booked_by"`
}

// A Slot is a time of a doctor, booked or free.
type Slot struct {
	Doctor   string       `json:"doctor"`
	StartsAt time.Time    `json:"starts_at"`
	Booked   *Appointment `json:"booked,omitempty"`
}

// Day returns the slots of a day, by time.
func (s *Service) Day(ctx context.Context, day time.Time) ([]Slot, error) {
	day = day.UTC().Truncate(24 * time.Hour)
	list, err := pgpool.Select[Appointment](ctx, s.db,
		`select a.id, a.doctor, a.starts_at, a.patient_id, p.name as patient, a.booked_by
		from appointments a join patients p on p.id = a.patient_id
		where a.starts_at >= $1 and a.starts_at < $2`, day, day.Add(24*time.Hour))
	if err != nil {
		return nil, err
	}
	var slots []Slot
	for at := day.Add(opens * time.Hour); at.Before(day.Add(closes * time.Hour)); at = at.Add(slot) {
		for _, doctor := range Doctors {
			free := Slot{Doctor: doctor, StartsAt: at}
			if i := slices.IndexFunc(list, func(a Appointment) bool { return a.Doctor == doctor && a.StartsAt.Equal(at) }); i >= 0 {
				free.Booked = &list[i]
			}
			slots = append(slots, free)
		}
	}
	return slots, nil
}

// Book books a slot for a patient. Of all who try to book the same slot one
// wins, and the others get ErrTaken.
func (s *Service) Book(ctx context.Context, doctor string, startsAt time.Time, patientID int64, by string) (Appointment, error) {
	if err := checkSlot(doctor, startsAt); err != nil {
		return Appointment{}, err
	}
	a, err := pgpool.Transaction(ctx, s.db, func(ctx context.Context, tx pgx.Tx) (Appointment, error) {
		a, err := pgpool.Get[Appointment](ctx, tx,
			`insert into appointments (doctor, starts_at, patient_id, booked_by) values ($1, $2, $3, $4)
			returning id, doctor, starts_at, patient_id, '' as patient, booked_by`, doctor, startsAt, patientID, by)
		if err != nil {
			return a, err
		}
		s.forget(ctx, patientID)
		_, err = tx.Exec(ctx, "update patients set last_visit = greatest(last_visit, $2) where id = $1", patientID, startsAt)
		return a, err
	})
	switch {
	case pgpool.IsUniqueViolation(err):
		return a, ErrTaken
	case pgpool.Code(err) == foreignKeyViolation:
		return a, ErrNotFound
	default:
		return a, err
	}
}

// foreignKeyViolation is PostgreSQL's code for a reference to nothing.
const foreignKeyViolation = "23503"

func checkSlot(doctor string, at time.Time) error {
	if !slices.Contains(Doctors, doctor) {
		return &ProblemError{Field: "doctor", Problem: "is not one of ours"}
	}
	at = at.UTC()
	if at.Hour() < opens || at.Hour() >= closes || !at.Equal(at.Truncate(slot)) {
		return &ProblemError{Field: "starts_at", Problem: "must be a half hour between 8:00 and 16:00 UTC"}
	}
	return nil
}

// Cancel frees a slot.
func (s *Service) Cancel(ctx context.Context, id int64) error {
	_, err := pgpool.Transaction(ctx, s.db, func(ctx context.Context, tx pgx.Tx) (int64, error) {
		return pgpool.Get[int64](ctx, tx, "delete from appointments where id = $1 returning id", id)
	})
	if errors.Is(err, pgpool.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

func itoa(n int) string { return strconv.Itoa(n) }
