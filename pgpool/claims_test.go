package pgpool_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

func TestRowLevelSecurity(t *testing.T) {
	t.Parallel()
	server := pgpooltest.StartServer(t) // roles belong to the whole server
	p := newPool(t, pgpool.Config{URL: server.URL()})
	mustExec(t, p,
		"create role anon nologin", "create role authenticated nologin", "create role service_role nologin bypassrls",
		"create table notes (id int primary key, owner uuid, public bool not null default false)",
		"insert into notes values (1, '00000000-0000-0000-0000-000000000001', false), (2, '00000000-0000-0000-0000-000000000002', false), (3, null, true)",
		"alter table notes enable row level security",
		"grant select, insert on notes to anon, authenticated",
		"create policy own on notes to authenticated using (owner = (current_setting('request.jwt.claims', true)::json->>'sub')::uuid)",
		"create policy public on notes to anon, authenticated using (public)")
	if err := pgpool.CreateLedger(t.Context(), p, "ledger"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		claims pgpool.Claims
		want   string
	}{
		"user 1":           {pgpool.Claims{"sub": "00000000-0000-0000-0000-000000000001", "role": "authenticated"}, "authenticated [1 3]"},
		"user 2":           {pgpool.Claims{"sub": "00000000-0000-0000-0000-000000000002", "role": "authenticated"}, "authenticated [2 3]"},
		"nobody":           {nil, "anon [3]"},
		"forged role":      {pgpool.Claims{"sub": "00000000-0000-0000-0000-000000000001", "role": "service_role"}, "anon [3]"},
		"role of no sense": {pgpool.Claims{"role": 7}, "anon [3]"},
		"injection":        {pgpool.Claims{"role": "authenticated", "sub": "00000000-0000-0000-0000-000000000002", "x": "'; reset role; --\""}, "authenticated [2 3]"},
	} {
		for _, opts := range [][]pgpool.TxOption{nil, {pgpool.Ledger("ledger")}, {pgpool.ReadOnly()}} {
			err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
				list, err := pgpool.Select[int](ctx, tx, "select id from notes order by id")
				if err != nil {
					return err
				}
				role, err := pgpool.Get[string](ctx, tx, "select current_user::text")
				if got := fmt.Sprint(role, " ", list); got != c.want {
					t.Errorf("%s sees %s, want %s", name, got, c.want)
				}
				return err
			}, append(opts, pgpool.WithClaims(c.claims))...)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		// It ends with the transaction.
		if got, err := pgpool.Get[string](t.Context(), p, "select current_user::text || coalesce(current_setting('request.jwt.claims', true), '')"); err != nil || got != server.User() {
			t.Errorf("after %s: %q, %v", name, got, err)
		}
	}
	err := p.InTx(t.Context(), func(context.Context, pgx.Tx) error { return nil }, pgpool.WithClaims(pgpool.Claims{"x": func() {}}))
	if err == nil {
		t.Error("claims that are no JSON are accepted")
	}
}
