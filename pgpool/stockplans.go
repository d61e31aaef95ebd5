package pgpool

import (
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// pgx plans anew for each query how its columns are scanned, which is a tenth of
// what a small query costs the client. For the columns that nearly all queries have
// the plan is always the same, unless the host has told the connection's type map
// something else: stockPlans keeps those, and looks at the map before each use.
type stockPlans struct {
	plans []pgtype.ScanPlan // one a column; nil: it is for pgx to plan
	types []stockType       // what must still hold
	wraps int               // how many ways to wrap a destination a map has
}

// A stockType is a type of the server as pgx knows it without the host.
type stockType struct {
	oid uint32
	typ *pgtype.Type
}

// planStock plans for these columns and where they go.
func planStock(columns []pgconn.FieldDescription, dest []any) stockPlans {
	if len(columns) != len(dest) {
		return stockPlans{} // pgx says so
	}
	m := pgtype.NewMap() // its own, as planning may change it
	s := stockPlans{wraps: len(m.TryWrapScanPlanFuncs)}
	for i, c := range columns {
		t, known := m.TypeForOID(c.DataTypeOID)
		if !known || !isStock(c.DataTypeOID, dest[i]) {
			return stockPlans{}
		}
		s.plans = append(s.plans, m.PlanScan(c.DataTypeOID, c.Format, dest[i]))
		if st := (stockType{c.DataTypeOID, t}); !slices.Contains(s.types, st) {
			s.types = append(s.types, st)
		}
	}
	return s
}

// isStock reports whether a column goes where it belongs. The plan for that keeps
// nothing, not even the map that it was made with. For what does not fit, pgx looks
// for a way around, and that is not always the same.
func isStock(oid uint32, dest any) bool {
	switch oid {
	case pgtype.BoolOID:
		return isOf[bool](dest)
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
		return isOf[int16](dest) || isOf[int32](dest) || isOf[int64](dest) || isOf[int](dest)
	case pgtype.Float4OID, pgtype.Float8OID:
		return isOf[float32](dest) || isOf[float64](dest)
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID:
		return isOf[string](dest)
	case pgtype.TimestamptzOID, pgtype.TimestampOID, pgtype.DateOID:
		return isOf[time.Time](dest)
	default:
		return false
	}
}

// isOf reports whether dest is a place for a T, or for one that may be null.
func isOf[T any](dest any) bool {
	switch dest.(type) {
	case *T, **T:
		return true
	default:
		return false
	}
}

// scan fills dest from a row, and reports whether it could. If not, pgx is to be
// asked, which explains why.
func (s *stockPlans) scan(values [][]byte, dest []any) bool {
	if len(values) != len(s.plans) {
		return false
	}
	for i, plan := range s.plans {
		if plan.Scan(values[i], dest[i]) != nil {
			return false
		}
	}
	return true
}

// hold reports whether there are plans, and pgx would plan the same on a connection.
func (s *stockPlans) hold(conn *pgx.Conn) bool {
	if s.plans == nil || conn == nil {
		return false
	}
	m := conn.TypeMap()
	if len(m.TryWrapScanPlanFuncs) != s.wraps {
		return false
	}
	for _, t := range s.types {
		if now, _ := m.TypeForOID(t.oid); now != t.typ {
			return false
		}
	}
	return true
}
