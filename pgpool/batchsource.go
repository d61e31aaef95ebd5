package pgpool

import (
	"iter"
	"reflect"
)

func sliceSource[T any](rows []T) (next func() (reflect.Value, bool), stop func()) {
	v := reflect.ValueOf(rows)
	i := 0
	return func() (reflect.Value, bool) {
		if i == len(rows) {
			return reflect.Value{}, false
		}
		row := v.Index(i)
		i++
		if row.Kind() == reflect.Pointer {
			row = row.Elem()
		}
		return row, true
	}, func() {}
}

func seqSource[T any](rows iter.Seq[T]) (next func() (reflect.Value, bool), stop func()) {
	pull, stop := iter.Pull(rows)
	return func() (reflect.Value, bool) {
		row, ok := pull()
		if !ok {
			return reflect.Value{}, false
		}
		v := reflect.ValueOf(&row).Elem()
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		return v, true
	}, stop
}

// take reads up to n rows and tells whether there are more.
func (b *batch) take(n int) (rows []reflect.Value, more bool) {
	if b.total > n {
		return nil, true // no need to look
	}
	for len(rows) <= n {
		v, ok := b.next()
		if !ok {
			return rows, false
		}
		if b.total < 0 {
			v = detached(v)
		}
		rows = append(rows, v)
	}
	return rows, true
}

// detached copies a row of a sequence, which may use what it points to again for
// the next one.
func detached(row reflect.Value) reflect.Value {
	if !row.IsValid() {
		return row // a nil pointer
	}
	own := reflect.New(row.Type()).Elem()
	own.Set(row)
	return own
}

// unread puts rows back that take has read.
func (b *batch) unread(rows []reflect.Value) {
	if len(rows) == 0 {
		return
	}
	next := b.next
	b.next = func() (reflect.Value, bool) {
		if len(rows) == 0 {
			return next()
		}
		v := rows[0]
		rows = rows[1:]
		return v, true
	}
}
