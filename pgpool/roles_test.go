package pgpool_test

import (
	"context"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// TestLeastPrivilege: a role that may log in and use its own tables is all that
// the pool needs, to find out about a lost COMMIT too.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	admin := newPool(t, pgpool.Config{URL: server.URL(), AppName: "admin"})
	if _, err := admin.Exec(t.Context(), `
		REVOKE ALL ON DATABASE postgres FROM PUBLIC;
		REVOKE ALL ON SCHEMA public FROM PUBLIC;
		CREATE TABLE patients (id bigint PRIMARY KEY, name text);
		CREATE ROLE app LOGIN PASSWORD 'pw' NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION;
		GRANT CONNECT ON DATABASE postgres TO app;
		GRANT USAGE ON SCHEMA public TO app;
		GRANT SELECT, INSERT, UPDATE, DELETE ON patients TO app`); err != nil {
		t.Fatal(err)
	}
	proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
	u, err := url.Parse(proxy.URL(server.URL()))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("app", "pw")
	p := newPool(t, pgpool.Config{URL: u.String(), SlowQuery: time.Millisecond})
	type patient struct {
		ID   int64
		Name string
	}
	if n, err := pgpool.BatchInsert(t.Context(), p, "patients", []patient{{1, "ada"}, {2, "bob"}}, pgpool.OnConflictDoNothing()); n != 2 || err != nil {
		t.Errorf("BatchInsert = %d, %v", n, err)
	}
	name, err := pgpool.Transaction(t.Context(), p, func(ctx context.Context, tx pgx.Tx) (string, error) {
		return pgpool.Get[string](ctx, tx, "UPDATE patients SET name = 'eve' WHERE id = 1 RETURNING name")
	})
	if name != "eve" || err != nil {
		t.Errorf("Transaction = %q, %v", name, err)
	}
	var cut atomic.Bool
	proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if m.Completes("COMMIT") && cut.CompareAndSwap(false, true) {
			return faultproxy.Cut
		}
		return faultproxy.Pass
	})
	if err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE patients SET name = name || '!' WHERE id = 1")
		return err
	}); err != nil || !cut.Load() {
		t.Errorf("InTx with a lost COMMIT = %v", err)
	}
	if name, err := pgpool.Get[string](t.Context(), p, "SELECT name FROM patients WHERE id = 1"); name != "eve!" || err != nil {
		t.Errorf("Get = %q, %v, want it changed once", name, err)
	}
	if n := p.Stats().CommitsResolved; n != 1 {
		t.Errorf("%d commits resolved, want 1", n)
	}
	if _, err := p.LongRunning(t.Context(), 0); err != nil {
		t.Errorf("LongRunning: %v", err)
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
