package env

import (
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"
)

// Load sets the tagged fields of the struct that cfg points to from their
// environment variables. A variable that is unset or empty leaves its field
// alone. The error is a *Problems with one line a variable; it never repeats a
// value, since a value may be a secret in the wrong place.
//
// Field types are those of envconfig, with two differences: a time.Duration
// takes a bare number as milliseconds, and the items of a []string lose the
// spaces around them.
func Load(cfg any) error {
	var problems Problems
	v := reflect.ValueOf(cfg).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := field.Tag.Get("envconfig")
		if name == "" || name == "-" || os.Getenv(name) == "" { //nolint:forbidigo // this package is where the environment is read
			continue
		}
		if err := loadField(v.Field(i), name); err != nil {
			problems.Add(name, "%s", expected(field.Type))
		}
	}
	return problems.Err(nil)
}

// loadField gives envconfig one field at a time, because it stops at the first
// mistake and we want them all.
func loadField(dst reflect.Value, name string) error {
	typ := dst.Type()
	if typ == reflect.TypeFor[time.Duration]() {
		typ = reflect.TypeFor[duration]()
	}
	one := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: "Value",
		Type: typ,
		Tag:  reflect.StructTag(fmt.Sprintf("envconfig:%q", name)),
	}}))
	if err := envconfig.Process("", one.Interface()); err != nil {
		return err
	}
	value := one.Elem().Field(0)
	if list, ok := reflect.TypeAssert[[]string](value); ok {
		value = reflect.ValueOf(trimAll(list))
	}
	dst.Set(value.Convert(dst.Type()))
	return nil
}

func trimAll(list []string) []string {
	var kept []string
	for _, item := range list {
		if item = strings.TrimSpace(item); item != "" {
			kept = append(kept, item)
		}
	}
	return kept
}

// duration is a time.Duration whose bare numbers are milliseconds, as in the
// Node backend that the variables come from.
type duration time.Duration

// Decode implements envconfig.Decoder.
func (d *duration) Decode(value string) error {
	if ms, err := strconv.ParseInt(value, 10, 64); err == nil {
		const most = int64(1<<63-1) / int64(time.Millisecond)
		if ms > most || ms < -most {
			return strconv.ErrRange
		}
		*d = duration(time.Duration(ms) * time.Millisecond)
		return nil
	}
	parsed, err := time.ParseDuration(value)
	*d = duration(parsed)
	return err
}

// expected says what a variable of type t takes.
func expected(t reflect.Type) string {
	if t == reflect.TypeFor[time.Duration]() {
		return "not a duration; write milliseconds such as 30000, or a unit such as 30s"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "not a yes or no; write true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "not a whole number in range; write digits such as 20"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "not a whole number of 0 or more in range; write digits such as 20"
	case reflect.Float32, reflect.Float64:
		return "not a number; write digits such as 0.5"
	default:
		return "not understood"
	}
}
