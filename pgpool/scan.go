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
	var r rowsResult[T]
	if err := readFrom(ctx, q, sql, args, &r); err != nil {
		return nil, err
	}
	return r.list, nil
}

// Get runs a query that gives exactly one row and returns it. T is as for
// Select. No row is ErrNotFound, more than one is ErrTooManyRows.
func Get[T any](ctx context.Context, q Querier, sql string, args ...any) (T, error) {
	var r rowResult[T]
	if err := readFrom(ctx, q, sql, args, &r); err != nil {
		var zero T
		return zero, err
	}
	return r.value, nil
}

// A result is what the rows of a query become. They are taken anew if the query
// is repeated.
type result interface {
	take(rows pgx.Rows) error
}

// A rowsResult is that of Select.
type rowsResult[T any] struct{ list []T }

func (r *rowsResult[T]) take(rows pgx.Rows) (err error) {
	r.list, err = scanAll(rows, []T{})
	return err
}

// A rowResult is that of Get.
type rowResult[T any] struct{ value T }

func (r *rowResult[T]) take(rows pgx.Rows) error {
	if !rows.Next() {
		return ErrNotFound
	}
	s, row, err := newScan[T](rows)
	if err != nil {
		return err
	}
	defer s.free(row, &r.value)
	if err := s.scan(rows); err != nil {
		return err
	}
	if rows.Next() {
		return ErrTooManyRows
	}
	return nil
}

// A reader is a Querier that runs a query together with the reading of its
// rows, and so can repeat both.
type reader interface {
	read(ctx context.Context, sql string, args []any, into result) error
}

func readFrom(ctx context.Context, q Querier, sql string, args []any, into result) error {
	if p, ok := q.(*Pool); ok { // by far the most frequent
		return p.read(ctx, sql, args, into)
	}
	if r, ok := q.(reader); ok {
		return r.read(ctx, sql, args, into)
	}
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close() // if that panics
	err = into.take(rows)
	rows.Close()
	if rowsErr := rows.Err(); rowsErr != nil {
		return rowsErr
	}
	return err
}

// scanAll appends all rows to list.
func scanAll[T any](rows pgx.Rows, list []T) ([]T, error) {
	if err := rows.Err(); err != nil {
		return list, err // and pgx would panic, if asked for the columns
	}
	s, row, err := newScan[T](rows)
	if err != nil {
		return list, err
	}
	var last T
	defer s.free(row, &last)
	for rows.Next() {
		if err := s.scan(rows); err != nil {
			return list, err
		}
		list = append(list, *row)
		*row = last // zero: what a column's type leaves alone must not come from the row before
	}
	return list, nil
}

// A scan fills one value, row after row. It is kept for the next query with
// the same columns, with the value that it points into, so that a query needs
// neither reflection nor an allocation for it.
type scan[T any] struct {
	dest    []any
	plans   stockPlans
	planned bool // the plans are right for these rows
	row     T
	home    *sync.Pool
}

// free moves the value to where it belongs, and keeps the scan.
func (s *scan[T]) free(row, to *T) {
	var zero T
	*to, *row = *row, zero
	s.home.Put(s)
}

func (s *scan[T]) scan(rows pgx.Rows) error {
	if s.planned && s.plans.scan(rows.RawValues(), s.dest) {
		return nil
	}
	if err := rows.Scan(s.dest...); err != nil {
		return fmt.Errorf("pgpool: scan: %w", err)
	}
	return nil
}

// newScan prepares to fill the row that it returns.
func newScan[T any](rows pgx.Rows) (*scan[T], *T, error) {
	columns := rows.FieldDescriptions()
	m, err := shapeOf(reflect.TypeFor[T]()).mapping(columns)
	if err != nil {
		return nil, nil, err
	}
	s, ok := m.scans.Get().(*scan[T])
	if !ok {
		s = &scan[T]{home: &m.scans}
		s.aim(m.paths)
		s.plans = planStock(columns, s.dest)
	}
	s.planned = s.plans.hold(rows.Conn())
	return s, &s.row, nil
}

// aim points dest into row.
func (s *scan[T]) aim(paths [][]int) {
	if paths == nil {
		s.dest = []any{&s.row}
		return
	}
	v := reflect.ValueOf(&s.row).Elem()
	for _, path := range paths {
		s.dest = append(s.dest, v.FieldByIndex(path).Addr().Interface())
	}
}

// A shape is a type with what is known about scanning it: its fields by name if
// it is a struct that stands for a row.
type shape struct {
	typ    reflect.Type
	fields []field
	byName map[string]int
	known  atomic.Pointer[[]*mapping] // column lists seen before
}

// A field is a column of a struct.
type field struct {
	column string // as it is written to a table
	path   []int  // see reflect.Value.FieldByIndex
	typ    reflect.Type
}

// A mapping is where the columns of one kind of query go.
type mapping struct {
	columns []column
	paths   [][]int // nil: the only column is the value itself
	scans   sync.Pool
}

// A column is what tells one from another.
type column struct {
	name   string // "" if it does not matter
	oid    uint32
	format int16
}

// maxMappings bounds the memory for queries whose columns differ each time.
const maxMappings = 64

var shapes sync.Map // reflect.Type to *shape

var scalarStructs = map[reflect.Type]bool{
	reflect.TypeFor[time.Time]():    true,
	reflect.TypeFor[netip.Addr]():   true,
	reflect.TypeFor[netip.Prefix](): true,
}

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape) // the map holds nothing else
	}
	s := &shape{typ: t}
	if t.Kind() == reflect.Struct && !isScalarStruct(t) {
		s.byName = map[string]int{}
		s.collect(t, nil)
	}
	stored, _ := shapes.LoadOrStore(t, s)
	return stored.(*shape) // the map holds nothing else
}

// isRow reports whether the type is a struct with a field per column.
func (s *shape) isRow() bool { return s.byName != nil }

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
		if had, taken := s.byName[key]; taken {
			if len(path) < len(s.fields[had].path) { // the outer field wins, as in Go
				s.fields[had] = field{column: name, path: path, typ: f.Type}
			}
			continue
		}
		s.byName[key] = len(s.fields)
		s.fields = append(s.fields, field{column: name, path: path, typ: f.Type})
	}
}

// mapping returns where the columns go. It is made once for each list of columns.
func (s *shape) mapping(columns []pgconn.FieldDescription) (*mapping, error) {
	known := s.known.Load()
	if known != nil {
		for _, m := range *known {
			if m.of(columns) {
				return m, nil
			}
		}
	}
	paths, err := s.paths(columns)
	if err != nil {
		return nil, err
	}
	m := &mapping{paths: paths}
	for _, c := range columns {
		seen := column{oid: c.DataTypeOID, format: c.Format}
		if s.isRow() {
			seen.name = c.Name
		}
		m.columns = append(m.columns, seen)
	}
	if known == nil || len(*known) < maxMappings {
		var list []*mapping
		if known != nil {
			list = append(list, *known...)
		}
		list = append(list, m)
		s.known.CompareAndSwap(known, &list) // losing a race only means to do it again
	}
	return m, nil
}

// paths finds the field of each column. If the only column has none, it is the
// value itself, so that a struct can be read from a JSON column: paths are nil.
func (s *shape) paths(columns []pgconn.FieldDescription) ([][]int, error) {
	if !s.isRow() {
		return nil, nil
	}
	paths := [][]int{}
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
		paths = append(paths, s.fields[at].path)
	}
	return paths, nil
}

// of reports whether the mapping is that of these columns.
func (m *mapping) of(columns []pgconn.FieldDescription) bool {
	if len(m.columns) != len(columns) {
		return false
	}
	for i := range columns {
		want, got := &m.columns[i], &columns[i]
		if want.oid != got.DataTypeOID || want.format != got.Format || want.name != "" && want.name != got.Name {
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
