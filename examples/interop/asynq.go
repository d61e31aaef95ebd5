package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/rediscache"
)

// TaskReminder is the type of asynq's task, with the patient's number as JSON.
const TaskReminder = "reminder"

// Queue is asynq on the cache's Redis client, which it is lent and does not
// close. Tasks are data: the Redis must write to disk and must not evict, as for
// sessions. Calls take no longer than the cache's Timeout, and fail within
// microseconds while Redis is away; asynq then tries again by itself.
type Queue struct {
	client *asynq.Client
	server *asynq.Server
	mux    *asynq.ServeMux
}

// NewQueue returns a queue whose tasks are worked by remind.
func NewQueue(cache *rediscache.Cache, remind func(ctx context.Context, patient int64) error) *Queue {
	q := &Queue{
		client: asynq.NewClientFromRedisClient(cache.Redis()),
		server: asynq.NewServerFromRedisClient(cache.Redis(), asynq.Config{
			Concurrency:       4,
			TaskCheckInterval: 100 * time.Millisecond,
			LogLevel:          asynq.FatalLevel,
			// Tasks that take longer at a stop go back into the queue. It is shorter
			// than the group's limit for a component, 10 seconds.
			ShutdownTimeout: 8 * time.Second,
		}),
		mux: asynq.NewServeMux(),
	}
	q.mux.HandleFunc(TaskReminder, func(ctx context.Context, task *asynq.Task) error {
		var patient int64
		if err := json.Unmarshal(task.Payload(), &patient); err != nil {
			return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
		}
		return remind(ctx, patient)
	})
	return q
}

// Remind puts a task into the queue. With a database, call it in
// pgpool.AfterCommit; what must not be lost belongs into river, in the
// transaction.
func (q *Queue) Remind(ctx context.Context, patient int64) error {
	payload, err := json.Marshal(patient)
	if err != nil {
		return err
	}
	_, err = q.client.EnqueueContext(ctx, asynq.NewTask(TaskReminder, payload))
	return err
}

// Component works the queue between a group's start and stop. Add it after the
// cache. asynq's Shutdown takes no context, so it runs beside the one that there
// is.
func (q *Queue) Component() lifecycle.Component {
	return lifecycle.Funcs{
		OnStart: func(context.Context) error { return q.server.Start(q.mux) },
		OnStop: func(ctx context.Context) error {
			done := make(chan struct{})
			go func() {
				q.server.Shutdown()
				close(done)
			}()
			select {
			case <-done:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
}
