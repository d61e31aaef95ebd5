package pgpool_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pedro-go/pedro/pgpool"
)

// TestScansAsPgx: what is scanned, in each format, and also when the scan is used
// again, is what pgx makes of it, errors included.
func TestScansAsPgx(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 2})
	check := func(columns []string, scans ...func(*testing.T, *pgpool.Pool, string, pgx.QueryExecMode)) {
		for _, column := range columns {
			null := "null" + column[strings.LastIndex(column, "::"):]
			for _, value := range []string{column, null, column} { // what was there before must not stay
				for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
					for _, scan := range scans {
						scan(t, p, "select "+value+" as v", mode)
					}
				}
			}
		}
	}
	check([]string{"true::bool"}, scansAlike[bool], scansAlike[*bool], scansAlike[any])
	check([]string{"-7::int2", "70000::int4", "5000000000::int8"}, scansAlike[int16], scansAlike[int32], scansAlike[int64], scansAlike[int],
		scansAlike[*int16], scansAlike[*int32], scansAlike[*int64], scansAlike[*int], scansAlike[any])
	check([]string{"1.5::float4", "-2.25::float8", "'-infinity'::float8"}, scansAlike[*float32], scansAlike[*float64], scansAlike[float32], scansAlike[float64])
	check([]string{"'ada'::text", "''::varchar", "'x'::char(3)"}, scansAlike[string], scansAlike[*string], scansAlike[[]byte])
	check([]string{"'2026-01-02 03:04:05.678901+00'::timestamptz", "'infinity'::timestamptz", "'2026-01-02 03:04:05'::timestamp", "'2026-01-02'::date"},
		scansAlike[time.Time], scansAlike[*time.Time])
	check([]string{"'{1,2}'::int8[]"}, scansAlike[[]int64])
}

func scansAlike[T any](t *testing.T, p *pgpool.Pool, sql string, mode pgx.QueryExecMode) {
	t.Helper()
	var want T
	wantErr := p.Pgx().QueryRow(t.Context(), sql, mode).Scan(&want)
	got, err := pgpool.Get[T](t.Context(), p, sql, mode)
	list, listErr := pgpool.Select[T](t.Context(), p, sql+" union all "+sql, mode)
	if wantErr != nil {
		if err == nil || !strings.Contains(err.Error(), wantErr.Error()) || listErr == nil {
			t.Errorf("%s into %T, %v: Get says %v, Select %v, pgx %v", sql, want, mode, err, listErr, wantErr)
		}
		return
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s into %T, %v: Get = %v, %v; pgx has %v", sql, want, mode, got, err, want)
	}
	if listErr != nil || !reflect.DeepEqual(list, []T{want, want}) {
		t.Errorf("%s into %T, %v: Select = %v, %v; pgx has %v", sql, want, mode, list, listErr, want)
	}
}

// TestScanSameNamesOtherTypes: columns with the same names may have other types.
func TestScanSameNamesOtherTypes(t *testing.T) {
	t.Parallel()
	p := newPool(t, pgpool.Config{MaxConns: 1})
	type row struct {
		N int64
		S string
	}
	for range 3 {
		for _, typ := range []string{"int2", "int4", "int8", "numeric"} {
			got, err := pgpool.Get[row](t.Context(), p, "select 7::"+typ+" as n, 'x'::text as s")
			if want := (row{7, "x"}); err != nil || got != want {
				t.Errorf("%s: %v, %v", typ, got, err)
			}
			n, err := pgpool.Get[int64](t.Context(), p, "select 7::"+typ)
			if err != nil || n != 7 {
				t.Errorf("%s: %v, %v", typ, n, err)
			}
		}
	}
}

// TestScanAsTheHostRegistered: a type that the host registers for a connection is
// used, from then on, also for columns that were scanned before.
func TestScanAsTheHostRegistered(t *testing.T) {
	t.Parallel()
	const sql = "select '2026-01-02 03:04:05+00'::timestamptz as at"
	east := time.FixedZone("east", 3*60*60)
	custom := &pgtype.Type{Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: east}}
	located := func(t *testing.T, q pgpool.Querier) string {
		t.Helper()
		at, err := pgpool.Get[time.Time](t.Context(), q, sql)
		if err != nil {
			t.Fatal(err)
		}
		return at.Location().String()
	}
	t.Run("each connection", func(t *testing.T) {
		t.Parallel()
		p := newPool(t, pgpool.Config{MaxConns: 1}, pgpool.WithAfterConnect(func(_ context.Context, c *pgx.Conn) error {
			c.TypeMap().RegisterType(custom)
			return nil
		}))
		if got := located(t, p); got != "east" {
			t.Errorf("the time is in %s", got)
		}
	})
	t.Run("later", func(t *testing.T) {
		t.Parallel()
		p := newPool(t, pgpool.Config{MaxConns: 1})
		if got := located(t, p); got == "east" {
			t.Errorf("the time is in %s", got)
		}
		if err := p.InTx(t.Context(), func(_ context.Context, tx pgx.Tx) error {
			tx.Conn().TypeMap().RegisterType(custom)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := located(t, p); got != "east" {
			t.Errorf("the time is in %s", got)
		}
	})
	t.Run("a wrapper", func(t *testing.T) {
		t.Parallel()
		p := newPool(t, pgpool.Config{MaxConns: 1}, pgpool.WithAfterConnect(func(_ context.Context, c *pgx.Conn) error {
			m := c.TypeMap()
			m.TryWrapScanPlanFuncs = append([]pgtype.TryWrapScanPlanFunc{func(target any) (pgtype.WrappedScanPlanNextSetter, any, bool) {
				if _, ok := target.(*time.Time); !ok {
					return nil, nil, false
				}
				return &refuser{}, new(pgtype.Timestamptz), true
			}}, m.TryWrapScanPlanFuncs...)
			return nil
		}))
		if _, err := pgpool.Get[time.Time](t.Context(), p, sql); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("Get = %v, want the host's own error", err)
		}
	})
}

// A refuser is a way to scan that always fails.
type refuser struct{}

func (*refuser) SetNext(pgtype.ScanPlan) {}
func (*refuser) Scan([]byte, any) error  { return fmt.Errorf("refused") }
