package pgpool_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

func inRecovery(t *testing.T, ctx context.Context, q pgpool.Querier) bool {
	t.Helper()
	yes, err := pgpool.Get[bool](ctx, q, "select pg_is_in_recovery()")
	if err != nil {
		t.Error(err)
	}
	return yes
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	primary := pgpooltest.StartServer(t)
	replica := pgpooltest.StartReplica(t, primary)
	p := newPool(t, pgpool.Config{URL: primary.URL(), ReplicaURLs: []string{replica.URL(), "postgres://u@127.0.0.1:1/db"}, ReplicaWait: 5 * time.Second})
	mustExec(t, p, "create table t (id int primary key, n int default 0)")
	eventually(t, "the replica is in use", func() bool { return p.Stats().Replicas[0].Healthy })
	if s := p.Stats().Replicas; len(s) != 2 || s[1].Healthy || s[0].Name != "replica 1" {
		t.Errorf("Replicas = %+v", s)
	}
	if !inRecovery(t, t.Context(), p.Replica()) || inRecovery(t, t.Context(), p) {
		t.Error("reads do not go where they should")
	}
	// In a transaction, the transaction answers.
	err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		if err := insert(ctx, tx, 1); err != nil {
			return err
		}
		if n, err := pgpool.Get[int](ctx, p.Replica(), "select count(*)::int from t"); err != nil || n != 1 {
			t.Errorf("in a transaction: %d, %v, want 1", n, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	// A replica that is gone is not waited for.
	raw := bare(t, replica.URL())
	warm(t, raw, 1)
	if err := replica.Kill(); err != nil {
		t.Fatal(err)
	}
	var ours, theirs meter
	read := func() error {
		standby, err := pgpool.Get[bool](t.Context(), p.Replica(), "select pg_is_in_recovery()")
		if err == nil && !standby {
			return errMine // the primary answered
		}
		return err
	}
	for range 20 {
		if err := ours.call(read); !errors.Is(err, errMine) {
			t.Errorf("got %v, want the answer of the primary", err)
		}
		_ = theirs.call(bareExec(t.Context(), raw, "select 1"))
	}
	if s := p.Stats(); s.ReplicaFallbacks == 0 {
		t.Error("no fallback was counted")
	}
	if err := replica.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	ours.heal()
	theirs.heal()
	_ = theirs.call(bareExec(t.Context(), raw, "select 1"))
	eventually(t, "the replica is back", func() bool { return ours.call(read) == nil })
	t.Logf("20 reads without the replica, all answered by the primary; longest %v, replica in use again after %v; a bare pgxpool of the replica: %v",
		ours.longest, ours.back, &theirs)
}

// Reads see the writes of their Token, though the replica is always late.
func TestReadYourWrites(t *testing.T) {
	t.Parallel()
	primary := pgpooltest.StartServer(t)
	replica := pgpooltest.StartReplica(t, primary)
	bareReads, bareStale := 0, 0
	for _, wait := range []time.Duration{-1, 2 * time.Second} {
		p := newPool(t, pgpool.Config{URL: primary.URL(), ReplicaURLs: []string{replica.URL()}, ReplicaWait: wait})
		mustExec(t, p, "drop table if exists t", "create table t (id int primary key, n int default 0)")
		eventually(t, "the replica has the table", func() bool {
			_, err := pgpool.Get[int](t.Context(), p.Replica(), "select count(*)::int from t")
			return err == nil && p.Stats().Replicas[0].Healthy
		})
		paused := newPool(t, pgpool.Config{URL: replica.URL(), MaxConns: 1})
		writers := map[string]func(ctx context.Context, id int) error{
			"InTx": func(ctx context.Context, id int) error {
				return p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error { return insert(ctx, tx, id) })
			},
			"Exec": func(ctx context.Context, id int) error { return insert(ctx, p, id) },
			"Get": func(ctx context.Context, id int) error {
				_, err := pgpool.Get[int](ctx, p, "insert into t (id) values ($1) returning id", id)
				return err
			},
			"BatchInsert": func(ctx context.Context, id int) error {
				_, err := pgpool.BatchInsert(ctx, p, "t", []struct{ ID int }{{id}})
				return err
			},
		}
		id := 0
		for name, write := range writers {
			mustExec(t, paused, "select pg_wal_replay_pause()")
			ctx := pgpool.WithToken(t.Context(), "")
			id++
			if err := write(ctx, id); err != nil {
				t.Fatal(err)
			}
			token := pgpool.TokenFrom(ctx)
			if token == "" {
				t.Errorf("%s: no token", name)
			}
			if n, _ := pgpool.Get[int](t.Context(), paused, "select id from t where id = $1", id); n != id { // as a bare pool of it reads
				bareStale++
			}
			bareReads++
			if wait < 0 { // the primary answers, as the replica does not have it
				if n, err := pgpool.Get[int](ctx, p.Replica(), "select id from t where id = $1", id); err != nil || n != id {
					t.Errorf("%s: %d, %v: the write is not seen", name, n, err)
				}
				mustExec(t, paused, "select pg_wal_replay_resume()")
				continue
			}
			var wg sync.WaitGroup
			later := pgpool.WithToken(t.Context(), token) // in another request
			wg.Go(func() {
				if !inRecovery(t, later, p.Replica()) {
					t.Errorf("%s: the replica was not waited for", name)
				}
				if n, err := pgpool.Get[int](later, p.Replica(), "select id from t where id = $1", id); err != nil || n != id {
					t.Errorf("%s: %d, %v: the write is not seen", name, n, err)
				}
			})
			mustExec(t, paused, "select pg_sleep(0.05)", "select pg_wal_replay_resume()")
			wg.Wait()
		}
	}
	t.Logf("%d of %d reads after a write saw it; of those without a token, on the replica itself, %d", bareReads, bareReads, bareReads-bareStale)
	if got := pgpool.TokenFrom(pgpool.WithToken(t.Context(), "16/B374D848")); got != "16/B374D848" {
		t.Errorf("a token comes back as %q", got)
	}
	for _, odd := range []pgpool.Token{"", "x", "1/2/3x", "'; drop"} {
		_ = pgpool.TokenFrom(pgpool.WithToken(t.Context(), odd))
	}
	if got := pgpool.TokenFrom(t.Context()); got != "" {
		t.Errorf("a plain context has token %q", got)
	}
}

// The primary dies and the replica is promoted: writers go on there by
// themselves, without a word in their code. The standby stands first in the
// address, as does an old primary that has come back: it must be passed by.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary := pgpooltest.StartServer(t)
	replica := pgpooltest.StartReplica(t, primary)
	u, err := url.Parse(primary.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	dsn := fmt.Sprintf("postgres://%s:%s@%s,%s/postgres?sslmode=disable", u.User.Username(), password, replica.Addr(), primary.Addr())
	p := newPool(t, pgpool.Config{URL: dsn, ConnectTimeout: 30 * time.Second})
	mustExec(t, p, auditTables, "set synchronous_commit = remote_apply")

	var a audit
	var ours, theirs meter
	callers := newLoad()
	callers.run(4, &ours, func() error {
		err := a.write(context.Background(), p)
		if err != nil && !errors.Is(err, pgpool.ErrCommitUnknown) {
			t.Errorf("an error reached a writer: %v", err)
		}
		return err
	})
	raw := bare(t, dsn+"&target_session_attrs=read-write") // with which it passes the standby by too
	callers.run(4, &theirs, bareExec(context.Background(), raw, "update counters set n = n where id = 0"))
	eventually(t, "writes", func() bool { return p.Stats().TxCommitted > 50 })
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := replica.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	ours.heal()
	theirs.heal()
	before := p.Stats().TxCommitted
	eventually(t, "writes on the promoted replica", func() bool { return p.Stats().TxCommitted > before+50 && theirs.recovered() })
	callers.end()
	t.Logf("writers: %v, errors being ErrCommitUnknown; a bare pgxpool: %v", &ours, &theirs)
	// What the old primary had not sent yet is lost with it: the replica was
	// asynchronous. Nothing may be there twice.
	if lost, doubled := a.check(t, p); doubled != 0 {
		t.Errorf("%d lost, %d doubled of %d", lost, doubled, len(a.acked))
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
