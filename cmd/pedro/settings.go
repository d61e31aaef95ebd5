package main

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pedro-go/pedro/internal/env"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

// variable is what the tags and types of the Config fields tell of one.
type variable struct {
	secret string // "", "url" or "true"
	typ    reflect.Type
}

// variables are those that the packages read.
var variables = func() map[string]variable {
	all := map[string]variable{"APP_ENV": {typ: reflect.TypeFor[string]()}}
	for _, cfg := range []any{pgpool.Config{}, rediscache.Config{}, session.Config{}} {
		for field := range reflect.TypeOf(cfg).Fields() {
			if name := field.Tag.Get("envconfig"); name != "" {
				all[name] = variable{secret: field.Tag.Get("secret"), typ: field.Type}
			}
		}
	}
	return all
}()

func isVariable(name string) bool { _, is := variables[name]; return is }

// isSet reports whether one of the variables has a value.
func isSet(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return os.Getenv(name) != "" //nolint:forbidigo // doctor's subject is the environment
	})
}

// readSettings lists what is set, and variables that look like a mistyped one.
func readSettings(r *report) {
	r.area = "environment"
	var typos []string
	for _, entry := range os.Environ() { //nolint:forbidigo // doctor's subject is the environment
		name, value, _ := strings.Cut(entry, "=")
		v, known := variables[name]
		switch {
		case value == "":
		case known:
			r.Settings = append(r.Settings, setting{name, v.shown(value)})
		default:
			if near := nearest(name); near != "" && !isSet(near) {
				typos = append(typos, name+" "+near)
			}
		}
	}
	slices.SortFunc(r.Settings, func(a, b setting) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(typos)
	for _, pair := range typos {
		name, near, _ := strings.Cut(pair, " ")
		r.problem("spelling", name+" is set, and nothing here reads it", "did you mean "+near+"?", near)
	}
}

// shown is a value without its secrets, which can stand in the wrong variable,
// too.
func (v variable) shown(value string) string {
	items := strings.Split(value, ",")
	switch {
	case v.secret == "true" && len(items) > 1:
		return fmt.Sprintf("[hidden, %d of them]", len(items))
	case v.secret == "true":
		return "[hidden]"
	case v.secret == "url" || strings.ContainsAny(value, "@=") || strings.Contains(value, "://"):
		for i, item := range items {
			items[i] = env.RedactURL(strings.TrimSpace(item))
		}
		return strings.Join(slices.Compact(items), ",")
	case len(value) > 64 || !v.fits(value):
		return "[hidden: it does not look right]"
	default:
		return strings.Map(printable, value)
	}
}

// fits reports whether a value is one of the variable's type.
func (v variable) fits(value string) bool {
	var err error
	switch {
	case v.typ == reflect.TypeFor[time.Duration]():
		if _, err = strconv.Atoi(value); err != nil {
			_, err = time.ParseDuration(value)
		}
	case v.typ.Kind() == reflect.Bool:
		_, err = strconv.ParseBool(value)
	case v.typ.Kind() != reflect.String && v.typ.Kind() != reflect.Slice:
		_, err = strconv.ParseInt(value, 10, 64)
	}
	return err == nil
}

func printable(c rune) rune {
	if c < ' ' || c == 0x7f {
		return '?'
	}
	return c
}

// nearest is the variable of which name is a misspelling: one or two letters
// differ, and they begin alike.
func nearest(name string) string {
	if len(name) < 6 {
		return ""
	}
	best, least := "", 3
	for _, known := range slices.Sorted(maps.Keys(variables)) {
		if known[:3] != name[:3] {
			continue
		}
		if d := distance(known, name); d < least {
			best, least = known, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
