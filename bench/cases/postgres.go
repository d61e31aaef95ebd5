package cases

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/bench/harness"
)

// account is a row of both tables.
type account struct {
	ID      int64     `bun:"id,pk"   db:"id"`
	Name    string    `bun:"name"    db:"name"`
	Email   string    `bun:"email"   db:"email"`
	Balance int64     `bun:"balance" db:"balance"`
	Active  bool      `bun:"active"  db:"active"`
	Made    time.Time `bun:"made"    db:"made"`
}

const (
	accounts  = 1000
	listed    = 100
	poolSize  = 20 // of every stack
	chunk     = 1000
	getSQL    = "select id, name, email, balance, active, made from accounts where id = $1"
	listSQL   = "select id, name, email, balance, active, made from accounts where id >= $1 order by id limit 100"
	takeSQL   = "update accounts set balance = balance - 1 where id = $1"
	giveSQL   = "update accounts set balance = balance + 1 where id = $1"
	columnSQL = "(id, name, email, balance, active, made)"
)

// database is what a stack of these cases can do.
type database struct {
	get      func(ctx context.Context, id int64) (account, error)
	list     func(ctx context.Context, from int64) ([]account, error)
	transfer func(ctx context.Context, from, to int64) error
	insert   func(ctx context.Context, rows []account, conflict bool) (int64, error)
	close    func()
}

type pgStack struct {
	name string
	ours bool
	maxN int // see harness.Stack
	open func(ctx context.Context, url string) (*database, error)
}

// Postgres is the cost of the usual work with PostgreSQL.
func (s *Servers) Postgres() []harness.Case {
	return []harness.Case{
		{
			Name: "postgres/get",
			Luck: true,
			About: "One row of six columns by primary key, into a struct. Every stack has a pool of 20 connections. Those of pedro have a statement_timeout, " +
				"as is its default, which costs the server a look at the clock; pgxpool is there without and with it.",
			Params: append(vary(nearAndFar[:1], 1, 16, 64), vary(nearAndFar[1:], 16)...),
			Stacks: s.pgStacks(slices.Insert(slices.Clone(pgStacks), 1, pgStack{name: "pgxpool, statement_timeout", open: openPgxpoolTimed}), "get", func(db *database) *harness.Running {
				return &harness.Running{Do: func(ctx context.Context, caller, i int) error {
					id := int64((caller*61+i*7)%accounts + 1)
					a, err := db.get(ctx, id)
					if err == nil && a.ID != id {
						err = fmt.Errorf("%w: account %d, want %d", errWrong, a.ID, id)
					}
					return err
				}}
			}),
		},
		{
			Name:   "postgres/select-100",
			About:  "100 rows into a slice of structs; counted in rows.",
			Params: append(vary(nearAndFar[:1], 1, 16), vary(nearAndFar[1:], 16)...),
			Stacks: s.pgStacks(pgStacks, "list", func(db *database) *harness.Running {
				return &harness.Running{Weight: listed, Do: func(ctx context.Context, caller, i int) error {
					from := int64((caller*61+i*7)%(accounts-listed) + 1)
					list, err := db.list(ctx, from)
					if err == nil && (len(list) != listed || list[listed-1].ID != from+listed-1) {
						err = fmt.Errorf("%w: %d rows", errWrong, len(list))
					}
					return err
				}}
			}),
		},
		{
			Name:   "postgres/transaction",
			Luck:   true,
			About:  "A transaction of two updates, of rows that no other caller touches. The server does not wait for the disk.",
			Params: vary(nearAndFar, 1, 16),
			Stacks: s.pgStacks(pgStacks, "transfer", func(db *database) *harness.Running {
				return &harness.Running{Do: func(ctx context.Context, caller, _ int) error {
					return db.transfer(ctx, int64(2*caller+1), int64(2*caller+2))
				}}
			}),
		},
		s.batchInsert("postgres/batch-insert", plain),
		s.batchInsert("postgres/batch-insert-keyed", keyed),
		s.batchInsert("postgres/batch-upsert", upsert),
	}
}

// An insertion is what a batch meets in the table.
type insertion string

const (
	plain  insertion = "insert"       // no index
	keyed  insertion = "insert keyed" // a unique one
	upsert insertion = "upsert"       // and every second row
)

func (s *Servers) batchInsert(name string, kind insertion) harness.Case {
	params := []harness.Params{{N: 10_000}, {N: 100_000}}
	var about string
	stacks := pgStacks
	switch kind {
	case plain:
		params = append(params, harness.Params{N: million})
		about = "Inserting so many rows of six columns into an empty table, all or nothing; counted in rows. What a stack allocates for a row " +
			"is memory beside the rows themselves. The million is one round, and without the stacks that send VALUES through database/sql."
	case keyed:
		about = "The same into a table with a unique index on the first column, which takes the server as long as all the rest: it is what COPY waits for, whoever sends the rows."
	case upsert:
		about = "The same with ON CONFLICT DO NOTHING, where every second row is there already. pgxpool sends arrays, or by hand COPY into a temporary table and inserts from there."
		stacks = slices.Insert(slices.Clone(pgStacks), 1, pgStack{name: "pgxpool, COPY by hand", open: openCopyByHand})
	}
	return harness.Case{
		Name: name, About: about,
		Params: params,
		Long:   million,
		Stacks: s.pgStacks(stacks, string(kind), func(db *database) *harness.Running {
			rows := map[int][]account{}
			return &harness.Running{Slice: func(ctx context.Context, _ int, d time.Duration) (harness.Sample, error) {
				n, _ := ctx.Value(sizeKey{}).(int)
				if rows[n] == nil {
					rows[n] = makeAccounts(n)
				}
				return s.insertFor(ctx, d, db, rows[n], kind)
			}}
		}),
	}
}

// sizeKey is where a slice finds Params.N.
type sizeKey struct{}

func makeAccounts(n int) []account {
	rows := make([]account, n)
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range rows {
		rows[i] = account{ID: int64(i + 1), Name: "A name", Email: fmt.Sprintf("a%d@example.com", i), Balance: int64(i), Active: true, Made: made}
	}
	return rows
}

// readyItems makes the table what kind says, with all that was done before on
// disk, so that no part of it falls into the time of who comes next.
func (s *Servers) readyItems(ctx context.Context, n int, kind insertion) (want int64, err error) {
	conn, err := pgx.Connect(ctx, s.pg.URL())
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	want = int64(n)
	sql := "truncate items; "
	if kind == plain {
		sql += "drop index if exists items_key"
	} else {
		sql += "create unique index if not exists items_key on items (id)"
	}
	if kind == upsert {
		want -= int64(n / 2)
		sql += fmt.Sprintf("; insert into items select i, 'old', 'old', 0, true, now() from generate_series(2, %d, 2) i", n)
	}
	if _, err := conn.Exec(ctx, sql); err != nil {
		return 0, err
	}
	_, err = conn.Exec(ctx, "checkpoint")
	return want, err
}

// insertFor inserts the rows again and again until that has taken as long as d, at
// least once.
func (s *Servers) insertFor(ctx context.Context, d time.Duration, db *database, rows []account, kind insertion) (harness.Sample, error) {
	var each []time.Duration
	var total time.Duration
	for len(each) == 0 || total < d {
		want, err := s.readyItems(ctx, len(rows), kind)
		if err != nil {
			return harness.Sample{}, err
		}
		began := time.Now()
		n, err := db.insert(ctx, rows, kind == upsert)
		took := time.Since(began)
		if err == nil && n != want {
			err = fmt.Errorf("%w: %d rows inserted, want %d", errWrong, n, want)
		}
		if err != nil {
			return harness.Sample{}, err
		}
		each = append(each, took)
		total += took
	}
	return harness.Sample{Units: float64(len(each) * len(rows)), Elapsed: total, P50: harness.Median(each), P99: slices.Max(each)}, nil
}

// pgStacks makes the stacks of a case: the Go ones do the work that run makes
// of them, Node does what is called op.
func (s *Servers) pgStacks(list []pgStack, op string, run func(db *database) *harness.Running) []harness.Stack {
	var stacks []harness.Stack
	for _, stack := range list {
		stacks = append(stacks, harness.Stack{Name: stack.name, Ours: stack.ours, MaxN: stack.maxN, Open: func(ctx context.Context, p harness.Params) (*harness.Running, error) {
			url, err := s.schema(ctx, p.Latency)
			if err != nil {
				return nil, err
			}
			db, err := stack.open(ctx, url)
			if err != nil {
				return nil, err
			}
			r := run(db)
			if slice := r.Slice; slice != nil {
				r.Slice = func(ctx context.Context, callers int, d time.Duration) (harness.Sample, error) {
					return slice(context.WithValue(ctx, sizeKey{}, p.N), callers, d)
				}
			}
			r.Close = func() error { db.close(); return nil }
			return r, nil
		}})
	}
	return append(stacks, harness.Stack{Name: "Node pg + pg-pool", Open: func(ctx context.Context, p harness.Params) (*harness.Running, error) {
		url, err := s.schema(ctx, p.Latency)
		if err != nil {
			return nil, err
		}
		return s.openNodePG(ctx, url, op, p)
	}})
}

// schema makes both tables the first time.
func (s *Servers) schema(ctx context.Context, latency time.Duration) (string, error) {
	near, err := s.PostgresURL(ctx, 0)
	if err != nil {
		return "", err
	}
	conn, err := pgx.Connect(ctx, near)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `
		create table if not exists accounts (id bigint primary key, name text not null, email text not null, balance bigint not null, active bool not null, made timestamptz not null) with (fillfactor = 50);
		create table if not exists items (like accounts);
		insert into accounts select i, 'name ' || i, 'a' || i || '@example.com', 0, true, now() from generate_series(1, 1000) i on conflict do nothing`); err != nil {
		return "", err
	}
	return s.PostgresURL(ctx, latency)
}
