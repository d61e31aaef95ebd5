package pgpool_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

// fewAndMany are numbers of rows that go different ways.
var fewAndMany = []int{3, 60}

type idRow struct{ ID int }

// numbered returns n rows with ids from 0.
func numbered(n int) []idRow {
	rows := make([]idRow, n)
	for i := range rows {
		rows[i].ID = i
	}
	return rows
}

func count(t *testing.T, q pgpool.Querier, table string) int {
	t.Helper()
	n, err := pgpool.Get[int](t.Context(), q, "select count(*) from "+table)
	if err != nil {
		t.Error(err)
	}
	return n
}

// TestBatchReturningIsAllOrNothing: what cannot be read was not inserted.
func TestBatchReturningIsAllOrNothing(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create table t (id int, note text)")
	type out struct {
		ID   int
		Note string // NULL in the table
	}
	for _, n := range fewAndMany {
		_, err := pgpool.BatchInsertReturning[idRow, out](t.Context(), p, "t", numbered(n))
		if stored := count(t, p, "t"); err == nil || stored != 0 {
			t.Errorf("%d rows: error %v, and %d rows are stored", n, err, stored)
		}
	}
}

// TestBatchRefused: the server's own error comes out, once, for few rows and for
// many, by a pool and in a transaction.
func TestBatchRefused(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create table always (id int generated always as identity)",
		"create table computed (id int generated always as (1) stored)")
	for table, code := range map[string]string{"missing": "42P01", "always": "428C9", "computed": "428C9"} {
		for _, n := range fewAndMany {
			check := func(by string, err error) {
				if pgpool.Code(err) != code || strings.Count(fmt.Sprint(err), "batch insert") != 1 {
					t.Errorf("%d rows into %s, %s: %v, want %s", n, table, by, err, code)
				}
			}
			for _, opts := range [][]pgpool.BatchOption{nil, {pgpool.OnConflictDoNothing()}} {
				_, err := pgpool.BatchInsert(t.Context(), p, table, numbered(n), opts...)
				check("pool", err)
				_ = p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
					_, err := pgpool.BatchInsert(ctx, tx, table, numbered(n), opts...)
					check("tx", err)
					return errRollback
				})
			}
		}
	}
	if n := count(t, p, "always"); n != 0 {
		t.Errorf("%d rows are stored", n)
	}
}

// TestBatchStringsThatDoNotFit: nothing is cut off in silence, and what an
// assignment makes fit is the same for few rows and for many.
func TestBatchStringsThatDoNotFit(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	type row struct{ V string }
	for i, c := range []struct{ typ, value, stored string }{
		{"varbit(3)", "10111", ""},
		{"bit(3)", "1", ""},
		{"bit(3)", "101", "101"},
		{"char(3)", "abcd", ""},
		{"char(3)", "a", "a"},
		{"varchar(3)", "abcd", ""},
		{"numeric(4,2)", "1.256", "1.26"},
		{"numeric(4,2)", "123", ""},
		{"timestamp(0)", "2024-01-02 03:04:05.6", "2024-01-02 03:04:06"},
	} {
		table := fmt.Sprint("t", i)
		mustExec(t, p, "create table "+table+" (v "+c.typ+")")
		for _, n := range fewAndMany {
			mustExec(t, p, "truncate "+table)
			_, err := pgpool.BatchInsert(t.Context(), p, table, slices.Repeat([]row{{c.value}}, n))
			stored, _ := pgpool.Get[string](t.Context(), p, "select coalesce(min(v::text), '') from "+table)
			if stored != c.stored || (err == nil) != (c.stored != "") {
				t.Errorf("%d rows of %s for %s: stored %q, %v, want %q", n, c.value, c.typ, stored, err, c.stored)
			}
		}
	}
}

// TestBatchDomains: a domain takes what its base type takes.
func TestBatchDomains(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create domain amount as int check (value >= 0)", "create domain label as text", "create table t (id amount, v label, s amount)")
	type row struct {
		ID   int
		V, S string
	}
	for _, n := range fewAndMany {
		mustExec(t, p, "truncate t")
		if _, err := pgpool.BatchInsert(t.Context(), p, "t", slices.Repeat([]row{{1, "a", "2"}}, n)); err != nil || count(t, p, "t") != n {
			t.Errorf("%d rows: %v", n, err)
		}
		if _, err := pgpool.BatchInsert(t.Context(), p, "t", slices.Repeat([]row{{-1, "a", "2"}}, n)); pgpool.Code(err) != "23514" {
			t.Errorf("%d rows: %v, want a check violation", n, err)
		}
	}
}

// TestBatchView: a view that can be inserted into takes many rows too.
func TestBatchView(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create table t (id int)", `create view "it's" as select * from t`)
	for _, n := range fewAndMany {
		mustExec(t, p, "truncate t")
		if _, err := pgpool.BatchInsert(t.Context(), p, "it's", numbered(n)); err != nil || count(t, p, "t") != n {
			t.Errorf("%d rows: %v", n, err)
		}
	}
}

// TestBatchKeyOfATable: a key may be a column that the rows do not have.
func TestBatchKeyOfATable(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create table t (tenant int not null default 7, id int, unique (tenant, id))")
	for _, n := range fewAndMany {
		for range 2 {
			_, err := pgpool.BatchInsert(t.Context(), p, "t", numbered(n), pgpool.OnConflictUpdate("tenant", "id"))
			if stored := count(t, p, "t"); err != nil || stored != n {
				t.Errorf("%d rows: %d are stored, %v", n, stored, err)
			}
		}
	}
}

// TestBatchNullsNotDistinct: where NULLs are equal, the last row with one counts.
func TestBatchNullsNotDistinct(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	if _, err := p.Exec(t.Context(), "create table t (a text, b text, name text, unique nulls not distinct (b, a) include (name))"); err != nil {
		t.Skip(err) // PostgreSQL 14
	}
	type row struct {
		A, B *string
		Name string
	}
	for _, n := range fewAndMany {
		mustExec(t, p, "truncate t")
		rows := make([]row, n)
		rows[n-1].Name = "last"
		_, err := pgpool.BatchInsert(t.Context(), p, "t", rows, pgpool.OnConflictUpdate("a", "b"))
		if name, getErr := pgpool.Get[string](t.Context(), p, "select name from t"); err != nil || getErr != nil || name != "last" {
			t.Errorf("%d rows: got %q, %v, %v", n, name, err, getErr)
		}
	}
}

// TestBatchSeqReusedPointer: a sequence may use one struct for all its rows.
func TestBatchSeqReusedPointer(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create table t (id int unique)")
	for _, n := range fewAndMany {
		mustExec(t, p, "truncate t")
		var row idRow
		_, err := pgpool.BatchInsertSeq(t.Context(), p, "t", func(yield func(*idRow) bool) {
			for i := range n {
				if row.ID = i; !yield(&row) {
					return
				}
			}
		})
		if stored := count(t, p, "t"); err != nil || stored != n {
			t.Errorf("%d rows: %d are stored, %v", n, stored, err)
		}
	}
}

// TestQuotedTableName: a double quote in a quoted name is written as two.
func TestQuotedTableName(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, `create schema "a.b"`, `create table "a.b"."t""x." (id int)`)
	for _, n := range fewAndMany {
		if _, err := pgpool.BatchInsert(t.Context(), p, `"a.b"."t""x."`, numbered(n)); err != nil {
			t.Errorf("%d rows: %v", n, err)
		}
	}
}
