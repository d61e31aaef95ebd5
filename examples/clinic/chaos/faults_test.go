package chaos_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/examples/clinic/internal/rig"
	"github.com/pedro-go/pedro/lifecycle"
)

// A fault is something that happens, and how it ends.
type fault struct {
	name   string
	begin  func(ctx context.Context, h *host) error
	end    func(ctx context.Context, h *host) error // nil: it is over by itself
	target string                                   // what no other fault may be at work on at the same time
	breaks string                                   // the check that must say so; "" if the clinic may not even notice
	verb   string                                   // the state that the check must have
	order  int                                      // of the ends of several: 1 comes after 0
}

// truthWithin is how long health may take to notice.
const truthWithin = 2 * time.Second

var faults = []fault{
	{
		name: "redis killed", target: "redis", breaks: "redis", verb: "warn",
		begin: func(_ context.Context, h *host) error { return h.redis.Kill() },
		end:   func(ctx context.Context, h *host) error { return h.redis.Restart(ctx) },
	},
	{
		name: "redis stopped", target: "redis", breaks: "redis", verb: "warn",
		begin: func(_ context.Context, h *host) error { return h.redis.Pause() },
		end:   func(_ context.Context, h *host) error { return h.redis.Resume() },
	},
	{
		name: "redis unreachable", target: "redis", breaks: "redis", verb: "warn",
		begin: func(_ context.Context, h *host) error { h.toRedis.Blackhole(); return nil },
		end:   func(_ context.Context, h *host) error { return h.toRedis.Heal() },
	},
	{
		name: "redis slow", target: "redis",
		begin: func(_ context.Context, h *host) error {
			h.toRedis.Latency(10*time.Millisecond, 10*time.Millisecond)
			return nil
		},
		end: func(_ context.Context, h *host) error { return h.toRedis.Heal() },
	},
	{
		name: "connections to redis reset", target: "redis",
		begin: func(_ context.Context, h *host) error { h.toRedis.Reset(); return nil },
	},
	{
		name: "postgres crashed", target: "postgres", breaks: "postgres", verb: "fail",
		begin: func(_ context.Context, h *host) error { return h.postgres.Kill() },
		end:   func(ctx context.Context, h *host) error { return h.postgres.Restart(ctx) },
	},
	{
		name: "postgres restarted", target: "postgres", breaks: "postgres", verb: "fail",
		begin: func(ctx context.Context, h *host) error { return h.postgres.Stop(ctx) },
		end:   func(ctx context.Context, h *host) error { return h.postgres.Restart(ctx) },
	},
	{
		name: "postgres stopped", target: "postgres", breaks: "postgres", verb: "fail",
		begin: func(_ context.Context, h *host) error { return h.postgres.Pause() },
		end:   func(_ context.Context, h *host) error { return h.postgres.Resume() },
	},
	{
		name: "postgres unreachable", target: "postgres", breaks: "postgres", verb: "fail",
		begin: func(_ context.Context, h *host) error { h.toPG.Blackhole(); return nil },
		end:   func(_ context.Context, h *host) error { return h.toPG.Heal() },
	},
	{
		name: "postgres slow", target: "postgres",
		begin: func(_ context.Context, h *host) error {
			h.toPG.Latency(10*time.Millisecond, 10*time.Millisecond)
			return nil
		},
		end: func(_ context.Context, h *host) error { return h.toPG.Heal() },
	},
	{
		name: "connections to postgres reset", target: "postgres",
		begin: func(_ context.Context, h *host) error { h.toPG.Reset(); return nil },
	},
	{
		name: "backends terminated", target: "postgres",
		begin: func(ctx context.Context, h *host) error {
			conn, err := pgx.Connect(ctx, h.postgres.URL())
			if err != nil {
				return err
			}
			defer conn.Close(ctx)
			_, err = conn.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'")
			return err
		},
	},
	// An instance holds what was written while Redis was away: it is not taken
	// away at that time, by the schedule. That it would be lost then is said in
	// the documentation of package session.
	{
		name: "A restarted", target: "redis", order: 1,
		begin: func(ctx context.Context, h *host) error { return h.stop(ctx, h.instances[0]) },
		end:   func(ctx context.Context, h *host) error { return h.instances[0].Start(ctx) },
	},
	{
		name: "B killed", target: "redis", order: 1,
		begin: func(_ context.Context, h *host) error { return h.instances[1].Kill() },
		end:   func(ctx context.Context, h *host) error { return h.instances[1].Start(ctx) },
	},
}

// schedule lets faults happen, alone and two at a time, until the end.
func (h *host) schedule(t *testing.T, rng *rand.Rand, end time.Time) {
	t.Helper()
	began := time.Now()
	for time.Now().Before(end) && !t.Failed() {
		one := faults[rng.IntN(len(faults))]
		now := []fault{one}
		if other := faults[rng.IntN(len(faults))]; rng.IntN(3) == 0 && other.target != one.target {
			now = append(now, other)
		}
		// What an instance needs to start comes back before the instance does.
		slices.SortFunc(now, func(a, b fault) int { return cmp.Compare(a.order, b.order) })
		hold := time.Duration(200+rng.IntN(3000)) * time.Millisecond
		calm := time.Duration(500+rng.IntN(1000)) * time.Millisecond

		h.happen(t, began, now, hold)
		time.Sleep(calm)
	}
}

// happen begins the faults, holds them, and ends them. A fault of which health
// must know is held until it does.
func (h *host) happen(t *testing.T, began time.Time, now []fault, hold time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var names []string
	for _, f := range now {
		names = append(names, f.name)
	}
	t.Logf("%6.1fs %s, for %s", time.Since(began).Seconds(), strings.Join(names, " and "), hold)
	h.postgresAway = now[0].breaks == "postgres" // it comes first, see order
	if now[0].target == "redis" || now[len(now)-1].target == "redis" {
		h.redisFaults.Add(1)
		defer h.redisFaults.Add(1) // when all is over, and health has said so
	}
	for _, f := range now {
		if err := f.begin(ctx, h); err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
	}
	held := time.Now()
	for _, f := range now {
		if f.breaks != "" {
			h.truth(t, ctx, held, f.name, f.breaks, f.verb)
		}
	}
	if left := hold - time.Since(held); left > 0 {
		time.Sleep(left)
	}
	for _, f := range now {
		if f.end == nil {
			continue
		}
		if err := f.end(ctx, h); err != nil {
			t.Fatalf("end of %s: %v", f.name, err)
		}
	}
	healed := time.Now()
	for _, f := range now {
		if f.breaks != "" {
			h.truth(t, ctx, healed, "end of "+f.name, f.breaks, "pass")
		}
	}
}

// stop asks an instance to stop. It must do so cleanly, unless requests at work
// wait for a database that does not answer: then it must say that it cut them
// off, once their time was up.
func (h *host) stop(ctx context.Context, i *rig.Instance) error {
	err := i.Stop(ctx)
	if err != nil && h.postgresAway && strings.Contains(err.Error(), lifecycle.ErrRequestsCut.Error()) {
		return nil
	}
	return err
}

// truth waits until all instances that run say that a check has a state.
func (h *host) truth(t *testing.T, ctx context.Context, since time.Time, what, check, want string) {
	t.Helper()
	for {
		said := h.health(ctx, check)
		ok := true
		for _, s := range said {
			ok = ok && (s == "" || strings.Contains(s, fmt.Sprintf("%q:%q", "status", want)))
		}
		took := time.Since(since)
		if ok {
			return
		}
		if took > truthWithin {
			t.Errorf("%s: %s after it, %s does not say %s but %q", what, took.Round(time.Millisecond), check, want, said)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
