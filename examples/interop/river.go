package interop

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
)

// Reminder is a job: a letter to a patient.
type Reminder struct {
	Patient int64 `json:"patient"`
}

// Kind names the job in the table.
func (Reminder) Kind() string { return "reminder" }

// reminders works the jobs.
type reminders struct {
	river.WorkerDefaults[Reminder]
	send func(ctx context.Context, patient int64) error
}

func (w *reminders) Work(ctx context.Context, job *river.Job[Reminder]) error {
	return w.send(ctx, job.Args.Patient)
}

// Jobs is a river client on the pool's connections.
func Jobs(pool *pgpool.Pool, l *slog.Logger, send func(ctx context.Context, patient int64) error) (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &reminders{send: send}); err != nil {
		return nil, err
	}
	return river.NewClient(riverpgxv5.New(pool.Pgx()), &river.Config{
		Logger:  l,
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}},
		Workers: workers,
		// Jobs that do not end by themselves get their context cancelled, before
		// the group's limit for a component is over.
		SoftStopTimeout: 5 * time.Second,
	})
}

// JobsComponent starts and stops a river client with its group. Add it after
// the pool.
//
// The client has a Start and a Stop that fit lifecycle.Component, and it must
// not be added as it is: the context of river's Start is that of all jobs, and
// ends them when it ends; a group's bounds the start only.
func JobsComponent(client *river.Client[pgx.Tx]) lifecycle.Component {
	return lifecycle.Funcs{
		OnStart: func(ctx context.Context) error { return client.Start(context.WithoutCancel(ctx)) },
		OnStop:  client.Stop,
	}
}

// MigrateJobs makes river's tables.
func MigrateJobs(ctx context.Context, pool *pgpool.Pool) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool.Pgx()), nil)
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// AdmitAndRemind adds a patient and a job for it: both or neither.
func AdmitAndRemind(ctx context.Context, pool *pgpool.Pool, jobs *river.Client[pgx.Tx], name string) (int64, error) {
	return pgpool.Transaction(ctx, pool, func(ctx context.Context, tx pgx.Tx) (int64, error) {
		id, err := pgpool.Get[int64](ctx, tx, "insert into patients (name) values ($1) returning id", name)
		if err != nil {
			return 0, err
		}
		_, err = jobs.InsertTx(ctx, tx, Reminder{Patient: id}, nil)
		return id, err
	})
}
