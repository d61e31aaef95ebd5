package interop

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/examples/interop/sqlcdb"
	"github.com/pedro-go/pedro/pgpool"
)

// The pool, what reads from replicas, and a transaction are each a DBTX of sqlc.
var (
	_ sqlcdb.DBTX = (*pgpool.Pool)(nil)
	_ sqlcdb.DBTX = pgpool.Querier(nil)
	_ sqlcdb.DBTX = pgx.Tx(nil)
)

// Admit adds a patient and a first visit, both or neither, with queries that
// sqlc generated. Queries on the pool itself would join the transaction too, by
// its context.
func Admit(ctx context.Context, pool *pgpool.Pool, name, email, reason string) (sqlcdb.Patient, error) {
	return pgpool.Transaction(ctx, pool, func(ctx context.Context, tx pgx.Tx) (sqlcdb.Patient, error) {
		q := sqlcdb.New(tx)
		patient, err := q.AddPatient(ctx, sqlcdb.AddPatientParams{Name: name, Email: &email})
		if err != nil {
			return patient, err
		}
		return patient, q.AddVisit(ctx, sqlcdb.AddVisitParams{Patient: patient.ID, Reason: reason})
	})
}
