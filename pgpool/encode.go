package pgpool

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// An encoder appends a value in PostgreSQL's binary format. It returns nil for
// NULL.
type encoder func(buf []byte, v reflect.Value) ([]byte, error)

// encoderFor finds the encoder for a Go type and a column's type. The common
// pairs are done here, without boxing the value; the rest by pgx.
func encoderFor(m *pgtype.Map, oid uint32, typ reflect.Type) encoder {
	general := func(buf []byte, v reflect.Value) ([]byte, error) {
		if err := checkText(v); err != nil {
			return nil, err
		}
		out, err := m.Encode(oid, pgtype.BinaryFormatCode, v.Interface(), buf)
		if err != nil {
			return nil, errors.New(strings.TrimPrefix(err.Error(), "unable to encode "))
		}
		return out, nil
	}
	if encodesItself(typ) {
		return general
	}
	if typ.Kind() == reflect.Pointer {
		if simple := simpleEncoder(m, oid, typ.Elem()); simple != nil && !encodesItself(typ.Elem()) {
			return func(buf []byte, v reflect.Value) ([]byte, error) {
				if v.IsNil() {
					return nil, nil
				}
				return simple(buf, v.Elem())
			}
		}
		return general
	}
	if simple := simpleEncoder(m, oid, typ); simple != nil {
		return simple
	}
	return general
}

// encodesItself reports whether a type has its own idea of its value.
func encodesItself(typ reflect.Type) bool {
	p := reflect.PointerTo(typ)
	return p.Implements(reflect.TypeFor[driver.Valuer]()) || p.Implements(reflect.TypeFor[pgtype.TextValuer]()) ||
		p.Implements(reflect.TypeFor[pgtype.Int64Valuer]()) || strings.HasPrefix(typ.PkgPath(), "github.com/jackc/pgx/v5/pgtype")
}

var errUTF8 = errors.New("the text is not valid UTF-8")

func simpleEncoder(m *pgtype.Map, oid uint32, typ reflect.Type) encoder {
	switch kind := typ.Kind(); {
	case typ == reflect.TypeFor[time.Time]() && oid == pgtype.TimestamptzOID:
		return encodeTime
	case kind == reflect.String && isText(m, oid):
		return encodeString
	case kind == reflect.Bool && oid == pgtype.BoolOID:
		return func(buf []byte, v reflect.Value) ([]byte, error) {
			if v.Bool() {
				return append(buf, 1), nil
			}
			return append(buf, 0), nil
		}
	case kind >= reflect.Int && kind <= reflect.Int64:
		return intEncoder(oid)
	case (kind == reflect.Float64 || kind == reflect.Float32) && oid == pgtype.Float8OID:
		return func(buf []byte, v reflect.Value) ([]byte, error) {
			return appendUint64(buf, math.Float64bits(v.Float())), nil
		}
	default:
		return nil
	}
}

func isText(m *pgtype.Map, oid uint32) bool {
	switch oid {
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID:
		return true
	}
	t, ok := m.TypeForOID(oid)
	if !ok {
		return false
	}
	_, isEnum := t.Codec.(*pgtype.EnumCodec)
	return isEnum
}

func encodeString(buf []byte, v reflect.Value) ([]byte, error) {
	s := v.String()
	if strings.IndexByte(s, 0) >= 0 {
		return nil, errNUL
	}
	if !utf8.ValidString(s) {
		return nil, errUTF8
	}
	return append(buf, s...), nil
}

// epoch2000 is where PostgreSQL counts microseconds from.
var epoch2000 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func encodeTime(buf []byte, v reflect.Value) ([]byte, error) {
	t, _ := reflect.TypeAssert[time.Time](v)
	return appendUint64(buf, uint64(t.UnixMicro()-epoch2000)), nil
}

func intEncoder(oid uint32) encoder {
	check := func(i int64, bits int) error {
		if i>>(bits-1) != 0 && i>>(bits-1) != -1 {
			return fmt.Errorf("%d does not fit into %d bytes", i, bits/8)
		}
		return nil
	}
	switch oid {
	case pgtype.Int8OID:
		return func(buf []byte, v reflect.Value) ([]byte, error) { return appendUint64(buf, uint64(v.Int())), nil }
	case pgtype.Int4OID:
		return func(buf []byte, v reflect.Value) ([]byte, error) {
			i := v.Int()
			return binary.BigEndian.AppendUint32(buf, uint32(i)), check(i, 32)
		}
	case pgtype.Int2OID:
		return func(buf []byte, v reflect.Value) ([]byte, error) {
			i := v.Int()
			return binary.BigEndian.AppendUint16(buf, uint16(i)), check(i, 16)
		}
	default:
		return nil
	}
}

func appendUint64(buf []byte, u uint64) []byte { return binary.BigEndian.AppendUint64(buf, u) }

// loadType makes a type known to the connection that pgx does not know by
// itself: an enum, a domain, a composite, or an array of those.
func loadType(ctx context.Context, c *pgx.Conn, oid uint32) error {
	if _, ok := c.TypeMap().TypeForOID(oid); ok {
		return nil
	}
	values, err := askOne(ctx, c, fmt.Sprintf("select %d::regtype::text, typelem, typbasetype from pg_type where oid = %d", oid, oid))
	if err != nil {
		return err
	}
	for _, base := range values[1:] { // element and base first
		var baseOID uint32
		if _, err := fmt.Sscan(base, &baseOID); err == nil && baseOID != 0 {
			if err := loadType(ctx, c, baseOID); err != nil {
				return err
			}
		}
	}
	t, err := c.LoadType(ctx, values[0])
	if err != nil {
		return err
	}
	c.TypeMap().RegisterType(t)
	return nil
}
