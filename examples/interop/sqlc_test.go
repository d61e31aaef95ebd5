package interop_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/examples/interop"
	"github.com/pedro-go/pedro/examples/interop/sqlcdb"
	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// TestSqlc runs every kind of query that sqlc generates for pgx, on the pool.
func TestSqlc(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := openPool(t, pgpool.Config{URL: database(t)})
	q := sqlcdb.New(pool)
	patient, err := interop.Admit(ctx, pool, "Anna", "anna@example.org", "flu")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := q.CountVisits(ctx, patient.ID); err != nil || n != 1 {
		t.Errorf("%d visits, %v, want 1", n, err)
	}
	if _, err := interop.Admit(ctx, pool, "Anna again", "anna@example.org", "cold"); !pgpool.IsUniqueViolation(err, "patients_email_key") {
		t.Errorf("the same address again got %v, want a violation of patients_email_key", err)
	}
	var more []sqlcdb.ImportPatientsParams
	for i := range 100 {
		more = append(more, sqlcdb.ImportPatientsParams{Name: "P", Email: new(fmt.Sprintf("p%d@example.org", i))})
	}
	if n, err := q.ImportPatients(ctx, more); err != nil || n != 100 { // :copyfrom
		t.Errorf("imported %d, %v, want 100", n, err)
	}
	q.RenamePatients(ctx, []sqlcdb.RenamePatientsParams{{ID: patient.ID, Name: "Anne"}}).Exec(func(_ int, err error) { // :batchexec
		if err != nil {
			t.Error(err)
		}
	})
	found, err := q.PatientByEmail(ctx, new("anna@example.org"))
	if err != nil || found.Name != "Anne" {
		t.Errorf("got %+v, %v, want Anne", found, err)
	}
	if _, err := q.PatientByEmail(ctx, new("nobody@example.org")); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("nobody got %v, want pgx.ErrNoRows, as ever with sqlc", err)
	}
	if all, err := sqlcdb.New(pool.Replica()).Patients(ctx); err != nil || len(all) != 101 {
		t.Errorf("%d patients, %v, want 101", len(all), err)
	}
}

// TestSqlcJoins: generated code that knows only the pool takes part in the
// transaction of its context, and goes with it.
func TestSqlcJoins(t *testing.T) {
	t.Parallel()
	pool := openPool(t, pgpool.Config{URL: database(t), MaxConns: 1})
	q, no := sqlcdb.New(pool), errors.New("no")
	err := pool.InTx(t.Context(), func(ctx context.Context, _ pgx.Tx) error {
		if _, err := q.AddPatient(ctx, sqlcdb.AddPatientParams{Name: "Nobody"}); err != nil {
			return err
		}
		return no
	})
	if !errors.Is(err, no) {
		t.Errorf("got %v, want the function's error", err)
	}
	if all, err := q.Patients(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%d patients, %v, want none: the insert was in the transaction", len(all), err)
	}
}

// TestSqlcOutlivesACut: the reply to COMMIT is lost, and the caller of the
// generated code does not notice.
func TestSqlcOutlivesACut(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	direct := openPool(t, pgpool.Config{URL: server.URL()})
	if _, err := interop.Migrate(t.Context(), direct); err != nil {
		t.Fatal(err)
	}
	proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
	pool := openPool(t, pgpool.Config{URL: proxy.URL(server.URL())})
	cuts := make(chan struct{}, 3)
	proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if m.Completes("COMMIT") {
			select {
			case cuts <- struct{}{}:
				return faultproxy.Cut
			default:
			}
		}
		return faultproxy.Pass
	})
	for i := range 10 {
		if _, err := interop.Admit(t.Context(), pool, "Anna", fmt.Sprintf("%d@example.org", i), "flu"); err != nil {
			t.Errorf("admission %d: %v", i, err)
		}
	}
	if len(cuts) != 3 {
		t.Errorf("%d commits were cut, want 3", len(cuts))
	}
	if n, err := pgpool.Get[int](t.Context(), direct, "select count(*) from visits"); err != nil || n != 10 {
		t.Errorf("%d visits, %v, want 10: each once", n, err)
	}
}
