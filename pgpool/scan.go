package pgpool

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Select runs a query and returns all its rows, an empty slice if there are
// none.
//
// T is a struct, whose fields are found by column name, or the type of the only
// column: a string, a *time.Time where it may be null, anything that pgx can
// scan. A column goes to the field with that name in its `db` tag, or else with
// that name apart from case and underscores; `db:"-"` hides a field. Each
// column needs a field; fields without a column stay zero. Embedded structs
// count as their fields.
//
// Through a Pool, a query whose connection is lost is repeated if it is certain
// not to have run, or only reads.
func Select[T any](ctx context.Context, q Querier, sql string, args ...any) ([]T, error) {
	var list []T
	err := readFrom(ctx, q, sql, args, func(rows pgx.Rows) error {
		list = []T{}
		var row, zero T
		s, err := newScan(&row, rows)
		if err != nil {
			return err
		}
		defer s.free()
		for rows.Next() {
			row = zero // what a column's type leaves alone must not come from the row before
			if err := s.scan(rows); err != nil {
				return err
			}
			list = append(list, row)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Get runs a query that gives exactly one row and returns it. T is as for
// Select. No row is ErrNotFound, more than one is ErrTooManyRows.
func Get[T any](ctx context.Context, q Querier, sql string, args ...any) (T, error) {
	var value T
	err := readFrom(ctx, q, sql, args, func(rows pgx.Rows) error {
		if !rows.Next() {
			return ErrNotFound
		}
		s, err := newScan(&value, rows)
		if err != nil {
			return err
		}
		defer s.free()
		if err := s.scan(rows); err != nil {
			return err
		}
		if rows.Next() {
			return ErrTooManyRows
		}
		return nil
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}

// A reader is a Querier that runs a query together with the reading of its
// rows, and so can repeat both.
type reader interface {
	read(ctx context.Context, sql string, args []any, each func(pgx.Rows) error) error
}

func readFrom(ctx context.Context, q Querier, sql string, args []any, each func(pgx.Rows) error) error {
	if r, ok := q.(reader); ok {
		return r.read(ctx, sql, args, each)
	}
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	err = each(rows)
	rows.Close()
	if rowsErr := rows.Err(); rowsErr != nil {
		return rowsErr
	}
	return err
}

// A scan fills one value, row after row.
type scan struct {
	dest []any
}

var scans = sync.Pool{New: func() any { return new(scan) }}

func (s *scan) free() {
	clear(s.dest)
	s.dest = s.dest[:0]
	scans.Put(s)
}

func (s *scan) scan(rows pgx.Rows) error {
	if err := rows.Scan(s.dest...); err != nil {
		return fmt.Errorf("pgpool: scan: %w", err)
	}
	return nil
}

// newScan prepares to fill what target, a pointer, points to.
func newScan[T any](target *T, rows pgx.Rows) (*scan, error) {
	s := scans.Get().(*scan) // the pool holds nothing else
	shape := shapeOf(reflect.TypeFor[T]())
	columns := rows.FieldDescriptions()
	if shape == nil {
		s.dest = append(s.dest, target)
		return s, nil
	}
	paths, err := shape.paths(columns)
	if err != nil {
		s.free()
		return nil, err
	}
	if paths == nil { // one column that no field is named after
		s.dest = append(s.dest, target)
		return s, nil
	}
	v := reflect.ValueOf(target).Elem()
	for _, path := range paths {
		s.dest = append(s.dest, v.FieldByIndex(path).Addr().Interface())
	}
	return s, nil
}

// A shape is a struct type with its fields by name.
type shape struct {
	typ    reflect.Type
	fields []field
	byName map[string]int
	known  atomic.Pointer[[]mapping] // column lists seen before
}

// A field is a column of a struct.
type field struct {
	column string // as it is written to a table
	path   []int  // see reflect.Value.FieldByIndex
	typ    reflect.Type
}

// A mapping is where the columns of one kind of query go.
type mapping struct {
	columns []string
	paths   [][]int
}

// maxMappings bounds the memory for queries whose columns differ each time.
const maxMappings = 64

var shapes sync.Map // reflect.Type to *shape, nil for scalars

var scalarStructs = map[reflect.Type]bool{
	reflect.TypeFor[time.Time]():    true,
	reflect.TypeFor[netip.Addr]():   true,
	reflect.TypeFor[netip.Prefix](): true,
}

// shapeOf returns nil for types that are scanned as one value.
func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape) // the map holds nothing else
	}
	var s *shape
	if t.Kind() == reflect.Struct && !isScalarStruct(t) {
		s = &shape{typ: t, byName: map[string]int{}}
		s.collect(t, nil)
	}
	stored, _ := shapes.LoadOrStore(t, s)
	return stored.(*shape) // the map holds nothing else
}

func isScalarStruct(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return scalarStructs[t] || p.Implements(reflect.TypeFor[sql.Scanner]()) || p.Implements(reflect.TypeFor[pgx.RowScanner]()) ||
		strings.HasPrefix(t.PkgPath(), "github.com/jackc/pgx/v5/pgtype")
}

// collect notes the fields of t, those of embedded structs included.
func (s *shape) collect(t reflect.Type, at []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		path := append(append([]int(nil), at...), i)
		tag, _, _ := strings.Cut(f.Tag.Get("db"), ",")
		if tag == "-" {
			continue
		}
		if f.Anonymous && tag == "" && f.Type.Kind() == reflect.Struct && !isScalarStruct(f.Type) {
			s.collect(f.Type, path)
			continue
		}
		if !f.IsExported() {
			continue
		}
		name := tag
		if name == "" {
			name = snake(f.Name)
		}
		key := fold(name)
		if _, taken := s.byName[key]; taken {
			continue // the outer field wins, as in Go
		}
		s.byName[key] = len(s.fields)
		s.fields = append(s.fields, field{column: name, path: path, typ: f.Type})
	}
}

// paths finds the field of each column. It is nil if the only column has none,
// so that a struct can be read from a JSON column.
func (s *shape) paths(columns []pgconn.FieldDescription) ([][]int, error) {
	known := s.known.Load()
	if known != nil {
		for i := range *known {
			if sameColumns((*known)[i].columns, columns) {
				return (*known)[i].paths, nil
			}
		}
	}
	m := mapping{}
	seen := map[int]bool{}
	for i := range columns {
		name := columns[i].Name
		at, ok := s.byName[fold(name)]
		if !ok {
			if len(columns) == 1 {
				return nil, nil
			}
			return nil, fmt.Errorf("pgpool: scan: column %q has no field in %v; add one, tag it `db:%q`, or leave the column out", name, s.typ, name)
		}
		if seen[at] {
			return nil, fmt.Errorf("pgpool: scan: two columns are named %q; rename one with AS", name)
		}
		seen[at] = true
		m.columns = append(m.columns, name)
		m.paths = append(m.paths, s.fields[at].path)
	}
	if known == nil || len(*known) < maxMappings {
		var list []mapping
		if known != nil {
			list = append(list, *known...)
		}
		list = append(list, m)
		s.known.CompareAndSwap(known, &list) // losing a race only means to do it again
	}
	return m.paths, nil
}

func sameColumns(names []string, columns []pgconn.FieldDescription) bool {
	if len(names) != len(columns) {
		return false
	}
	for i := range columns {
		if names[i] != columns[i].Name {
			return false
		}
	}
	return true
}

// fold makes names comparable: PatientID, patient_id and patientid are one.
func fold(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// snake writes a Go name as a column: PatientID becomes patient_id.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	upper := func(i int) bool { return i >= 0 && i < len(runes) && runes[i] >= 'A' && runes[i] <= 'Z' }
	for i, r := range runes {
		if upper(i) {
			if i > 0 && (!upper(i-1) || i+1 < len(runes) && !upper(i+1)) && runes[i-1] != '_' {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
