package pgpool_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

func TestDB(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	db := p.DB()
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "create table t (id int)"); err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stmt, err := tx.PrepareContext(t.Context(), "insert into t values ($1)")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := stmt.ExecContext(t.Context(), i); err != nil {
			t.Error(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "select count(*) from t where id >= $1", 1).Scan(&n); err != nil || n != 2 {
		t.Errorf("%d, %v, want 2", n, err)
	}
	if s := p.Stats(); s.AcquiredConns != 0 {
		t.Errorf("%d connections are still held", s.AcquiredConns)
	}
}

// database/sql must not run a statement again that may have run. With pgx's own
// adapter it does.
func TestDBDoesNotWriteTwice(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t)
	proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
	p := newPool(t, pgpool.Config{URL: proxy.URL(server.URL())})
	mustExec(t, p, "create table t (id int)")
	db := p.DB()
	defer db.Close()
	pool, err := pgxpool.New(t.Context(), proxy.URL(server.URL()))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	plain := stdlib.OpenDBFromPool(pool)
	defer plain.Close()

	lose := func() {
		hook, _ := once(func(m *faultproxy.Message) bool { return strings.HasPrefix(m.Tag, "INSERT") }, faultproxy.Cut)
		proxy.OnMessage(hook)
	}
	lose()
	_, err = db.ExecContext(t.Context(), "insert into t values (1)")
	if err == nil {
		t.Error("a lost reply is no error")
	}
	lose()
	_, plainErr := plain.ExecContext(t.Context(), "insert into t values (2)")
	proxy.OnMessage(nil)
	ours, _ := pgpool.Get[int](t.Context(), p, "select count(*)::int from t where id = 1")
	theirs, _ := pgpool.Get[int](t.Context(), p, "select count(*)::int from t where id = 2")
	t.Logf("rows of one lost insert: %d with DB (%v), %d with stdlib.OpenDBFromPool (%v)", ours, err, theirs, plainErr)
	if ours != 1 {
		t.Errorf("%d rows, want 1", ours)
	}
}
