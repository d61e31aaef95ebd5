package pgpool_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pedro-go/pedro/pgpool"
)

type everything struct {
	ID     int64
	Name   string
	Note   *string
	Small  int16
	Whole  int
	Yes    bool
	Real   float64
	Seen   time.Time
	Born   pgtype.Date
	Tags   []string
	Extra  map[string]any
	Amount pgtype.Numeric
	Mood   string
	Moods  []string
	Code   string
	Raw    []byte
	UID    [16]byte `db:"uid"`
	Local  string   `db:"-"`
}

const everythingTable = `create type mood as enum ('sad', 'ok');
	create domain code as text check (value <> 'bad');
	create table everything (id bigint primary key, name text not null, note text, small smallint, whole int, yes bool, real float8,
	seen timestamptz, born date, tags text[], extra jsonb, amount numeric(10,2), mood mood, moods mood[], code code, raw bytea, uid uuid,
	made timestamptz default now())`

func makeRows(n int) []everything {
	rows := make([]everything, n)
	for i := range rows {
		note := fmt.Sprintf("note ü %d", i)
		r := everything{
			ID: int64(i + 1), Name: fmt.Sprintf("name %d", i), Small: int16(i % 100), Whole: i, Yes: i%2 == 0, Real: float64(i) / 3,
			Seen: time.Date(1969+i%100, 3, 4, 5, 6, 7, 8000, time.UTC), Born: pgtype.Date{Time: time.Date(1999, 1, 2, 0, 0, 0, 0, time.UTC), Valid: true},
			Tags: []string{"a", "b,c"}, Extra: map[string]any{"k": float64(i)}, Mood: "ok", Moods: []string{"sad"}, Code: "good", Raw: []byte{0, 1}, UID: [16]byte{byte(i)},
		}
		r.Amount.Scan("12.50")
		if i%3 == 0 {
			r.Note = &note
		}
		rows[i] = r
	}
	return rows
}

func TestBatchInsert(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, everythingTable)
	for _, n := range []int{0, 1, 50, 51, 3000} {
		rows := makeRows(n)
		var told []int
		got, err := pgpool.BatchInsert(t.Context(), p, "public.everything", rows, pgpool.WithProgress(func(done, total int) {
			told = append(told, done)
			if total != n {
				t.Errorf("total %d, want %d", total, n)
			}
		}))
		if err != nil || got != int64(n) {
			t.Fatalf("%d rows: %d, %v", n, got, err)
		}
		if n > 0 && told[len(told)-1] != n {
			t.Errorf("%d rows: progress %v", n, told)
		}
		back, err := pgpool.Select[everything](t.Context(), p, "select id, name, note, small, whole, yes, real, seen, born, tags, extra, amount, mood::text, moods::text[], code::text, raw, uid from everything order by id")
		if err != nil {
			t.Fatal(err)
		}
		for i := range back {
			back[i].Seen = back[i].Seen.UTC()
			if got, want := fmt.Sprintf("%+v", deref(back[i])), fmt.Sprintf("%+v", deref(rows[i])); got != want {
				t.Fatalf("row %d of %d:\n got %s\nwant %s", i, n, got, want)
			}
		}
		mustExec(t, p, "truncate everything")
	}
}

func deref(r everything) any {
	note := "<nil>"
	if r.Note != nil {
		note = *r.Note
	}
	r.Note = nil
	v, _ := r.Amount.Value()
	r.Amount = pgtype.Numeric{}
	return []any{r, note, v}
}

func TestBatchInsertIsAllOrNothing(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, everythingTable)
	for _, n := range []int{5, 500} {
		for _, c := range []struct {
			name   string
			spoil  func(*everything)
			column string
		}{
			{"NUL", func(r *everything) { r.Name = "a\x00b" }, "name"},
			{"NUL behind a pointer", func(r *everything) { r.Note = new("\x00") }, "note"},
			{"domain", func(r *everything) { r.Code = "bad" }, ""},
			{"enum", func(r *everything) { r.Mood = "angry" }, "mood"},
			{"too large", func(r *everything) { r.Whole = 1 << 40 }, "whole"},
			{"duplicate", func(r *everything) { r.ID = 1 }, ""},
		} {
			rows := makeRows(n)
			c.spoil(&rows[n-2])
			got, err := pgpool.BatchInsert(t.Context(), p, "everything", rows)
			rowErr, ok := errors.AsType[*pgpool.RowError](err)
			if !ok || rowErr.Row != n-2 || c.column != "" && n > 50 && rowErr.Column != c.column || got != 0 {
				t.Errorf("%s in %d rows: %d, %v", c.name, n, got, err)
			}
			if left, _ := pgpool.Get[int](t.Context(), p, "select count(*)::int from everything"); left != 0 {
				t.Errorf("%s in %d rows: %d rows are left", c.name, n, left)
			}
		}
	}
}

type item struct {
	ID    int    `db:"id"`
	Value string `db:"value"`
}

func items(from, to int, value string) []item {
	var list []item
	for i := from; i <= to; i++ {
		list = append(list, item{i, value})
	}
	return list
}

func TestBatchInsertConflicts(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	for _, n := range []int{10, 1000} {
		mustExec(t, p, "drop table if exists items", "create table items (id int primary key, value text not null, n serial)")
		if _, err := pgpool.BatchInsert(t.Context(), p, "items", items(1, n, "old")); err != nil {
			t.Fatal(err)
		}
		got, err := pgpool.BatchInsert(t.Context(), p, "items", items(n/2+1, n+n/2, "new"), pgpool.OnConflictDoNothing("id"))
		if err != nil || got != int64(n/2) {
			t.Errorf("%d rows, do nothing: %d, %v, want %d", n, got, err, n/2)
		}
		rows := append(items(1, n, "lost"), items(1, n, "newest")...)
		if n <= 50 {
			rows = items(1, n, "newest")
		}
		got, err = pgpool.BatchInsert(t.Context(), p, "items", rows, pgpool.OnConflictUpdate("id"))
		if err != nil || got != int64(n) {
			t.Errorf("%d rows, update: %d, %v", n, got, err)
		}
		counts, err := pgpool.Select[string](t.Context(), p, "select value || count(*) from items group by value order by value")
		if want := fmt.Sprintf("[new%d newest%d]", n/2, n); err != nil || fmt.Sprint(counts) != want {
			t.Errorf("%d rows: %v, %v, want %s", n, counts, err, want)
		}
	}
	if _, err := pgpool.BatchInsert(t.Context(), p, "items", items(1, 1, ""), pgpool.OnConflictUpdate()); err == nil {
		t.Error("OnConflictUpdate without columns is accepted")
	}
}

// TestBatchInsertKeepsOrder: the first of rows that conflict is the one that
// stays, and what a sequence numbers goes by the order of the rows, of whatever
// sizes and in whatever transaction they are.
func TestBatchInsertKeepsOrder(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	const n, keys = 30_000, 20_000
	rows := make([]item, n)
	for i := range rows {
		rows[i] = item{(i*7919)%keys + 1, fmt.Sprint(i, strings.Repeat("x", (i*i)%1500))}
		if i%100 == 0 {
			rows[i].Value += strings.Repeat("y", 6000) // not all fit a page that smaller ones would
		}
	}
	insert := func(ctx context.Context, q pgpool.Querier) error {
		got, err := pgpool.BatchInsert(ctx, q, "items", rows, pgpool.OnConflictDoNothing("id"))
		if err == nil && got != keys {
			return fmt.Errorf("%d rows, want %d", got, keys)
		}
		return err
	}
	inTx := func(ctx context.Context, tx pgx.Tx) error { return insert(ctx, tx) }
	for name, run := range map[string]func(ctx context.Context) error{
		"pool":        func(ctx context.Context) error { return insert(ctx, p) },
		"transaction": func(ctx context.Context) error { return p.InTx(ctx, inTx) },
		"savepoint": func(ctx context.Context) error {
			return p.InTx(ctx, func(ctx context.Context, _ pgx.Tx) error { return p.InTx(ctx, inTx) })
		},
	} {
		mustExec(t, p, "drop table if exists items", "create table items (id int primary key, value text not null, n bigserial)", "alter table items alter value set storage plain")
		if err := run(t.Context()); err != nil {
			t.Fatal(name, err)
		}
		kept, err := pgpool.Select[item](t.Context(), p, "select id, value from items order by n")
		if err != nil || !slices.Equal(kept, rows[:keys]) { // the keys of these are all different
			t.Errorf("%s: %d rows, %v: not the first of each key in the order of the batch", name, len(kept), err)
		}
	}
}

func TestBatchInsertReturning(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	type saved struct {
		ID    int
		Value string
		Made  time.Time
	}
	for _, n := range []int{3, 700} {
		mustExec(t, p, "drop table if exists items", "create table items (id serial primary key, value text not null, made timestamptz not null default now())")
		rows := items(0, n-1, "")
		for i := range rows {
			rows[i].Value = fmt.Sprint("v", i)
		}
		back, err := pgpool.BatchInsertReturning[item, saved](t.Context(), p, "items", rows, pgpool.Omit("id"))
		if err != nil || len(back) != n {
			t.Fatalf("%d rows: %d, %v", n, len(back), err)
		}
		for i, r := range back {
			if r.ID != i+1 || r.Value != rows[i].Value || r.Made.IsZero() {
				t.Fatalf("row %d = %+v", i, r)
			}
		}
		idsOnly, err := pgpool.BatchInsertReturning[item, int](t.Context(), p, "items", rows, pgpool.Omit("id"), pgpool.Returning("id"))
		if err != nil || len(idsOnly) != n || idsOnly[0] != n+1 {
			t.Errorf("ids: %v", err)
		}
	}
	if _, err := pgpool.BatchInsertReturning[item, int](t.Context(), p, "items", items(1, 1, ""), pgpool.Omit("id")); err == nil || !strings.Contains(err.Error(), "Returning") {
		t.Errorf("scalar without Returning: %v", err)
	}
}

func TestBatchInsertSeq(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create table items (id int primary key, value text not null)")
	for _, n := range []int{0, 7, 50, 51, 20_000} {
		got, err := pgpool.BatchInsertSeq(t.Context(), p, "items", seq(n))
		if err != nil || got != int64(n) {
			t.Errorf("%d rows: %d, %v", n, got, err)
		}
		mustExec(t, p, "truncate items")
	}
	func() {
		defer func() {
			if v := recover(); v != "boom" {
				t.Errorf("recovered %v, want the panic of the sequence", v)
			}
		}()
		_, _ = pgpool.BatchInsertSeq(t.Context(), p, "items", func(yield func(item) bool) {
			for i := range 1000 {
				yield(item{i, "x"})
			}
			panic("boom")
		})
	}()
	if n, err := pgpool.Get[int](t.Context(), p, "select count(*)::int from items"); err != nil || n != 0 {
		t.Errorf("after a panic: %d rows, %v", n, err)
	}
}

// A million rows (in the long form) must not need the memory of a million rows.
func TestBatchInsertSeqInConstantMemory(t *testing.T) {
	p := newPool(t, pgpool.Config{StatementTimeout: -1, QueryTimeout: -1})
	mustExec(t, p, "create unlogged table items (id int, value text not null)")
	n := 100_000
	if os.Getenv("PEDRO_ROUNDS") != "" {
		n = 1_000_000
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, uint64(0)
	told := 0
	got, err := pgpool.BatchInsertSeq(t.Context(), p, "items", seq(n), pgpool.WithProgress(func(done, total int) {
		if told++; told%20 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		if total != -1 || done > n {
			t.Errorf("progress %d of %d", done, total)
		}
	}))
	if err != nil || got != int64(n) {
		t.Fatalf("%d, %v", got, err)
	}
	grown := int64(most) - int64(before)
	t.Logf("%d rows: heap grew by %d kB", n, grown>>10)
	if grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes for %d rows", grown, n)
	}
}

func seq(n int) iter.Seq[item] {
	return func(yield func(item) bool) {
		for i := range n {
			if !yield(item{i, "value"}) {
				return
			}
		}
	}
}

func TestBatchInsertInTransaction(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{})
	mustExec(t, p, "create table items (id int primary key, value text not null)")
	for _, opts := range [][]pgpool.BatchOption{nil, {pgpool.OnConflictDoNothing()}} {
		for _, through := range []string{"tx", "pool", "conn", "raw"} {
			err := p.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
				q := map[string]pgpool.Querier{"tx": tx, "pool": p, "conn": tx.Conn(), "raw": p.Pgx()}[through]
				if n, err := pgpool.BatchInsert(ctx, q, "items", items(1, 500, "v"), opts...); err != nil || n != 500 {
					t.Errorf("%s: %d, %v", through, n, err)
				}
				if through == "conn" && len(opts) > 0 {
					return nil // a *pgx.Conn begins its own
				}
				return errMine
			})
			want := 0
			if through == "raw" || through == "conn" && len(opts) > 0 {
				want = 500
			}
			if n, err2 := pgpool.Get[int](t.Context(), p, "select count(*)::int from items"); err2 != nil || n != want {
				t.Errorf("%s: %d rows, %v, %v, want %d", through, n, err, err2, want)
			}
			mustExec(t, p, "truncate items")
		}
	}
}
