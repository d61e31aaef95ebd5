package health

import (
	"reflect"
	"time"
)

// A Gauge is a number that a component knows about itself.
type Gauge struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	Max   float64 `json:"max,omitempty"` // 0 if there is none: no bar is drawn then

	// Counter says that Value only grows. Its rate is shown beside it.
	Counter bool `json:"counter,omitempty"`

	// Rate is the growth of a counter a second since the run before. It is set by
	// the package.
	Rate float64 `json:"rate,omitempty"`
}

// withRates sets the rates of counters from the values of the run before.
func withRates(now, before []Gauge, elapsed time.Duration) []Gauge {
	last := make(map[string]float64, len(before))
	for _, g := range before {
		last[g.Name] = g.Value
	}
	for i, g := range now {
		if v, ok := last[g.Name]; ok && g.Counter && g.Value >= v && elapsed > 0 {
			if rate := (g.Value - v) / elapsed.Seconds(); isFinite(rate) {
				now[i].Rate = rate
			}
		}
	}
	return now
}

// derived returns the gauges that a details value implies by the names of its
// fields: those of connection pools and of caches.
func derived(details any) []Gauge {
	v := reflect.Indirect(reflect.ValueOf(details))
	if v.Kind() != reflect.Struct {
		return nil
	}
	var list []Gauge
	if limit, ok := number(v, "MaxConns"); ok && limit > 0 {
		if n, ok := number(v, "AcquiredConns"); ok {
			list = append(list, Gauge{Name: "connections in use", Value: n, Max: limit})
		}
		for _, field := range [...]struct{ name, label string }{
			{"TotalConns", "connections open"}, {"IdleConns", "connections idle"}, {"Waiting", "callers waiting"},
		} {
			if n, ok := number(v, field.name); ok {
				list = append(list, Gauge{Name: field.label, Value: n})
			}
		}
	}
	if ratio, ok := number(v, "HitRatio"); ok {
		list = append(list, Gauge{Name: "hit ratio", Value: ratio * 100, Max: 100, Unit: "%"})
	}
	for _, field := range [...]struct{ name, label string }{{"P50", "median"}, {"P95", "95th percentile"}, {"P99", "99th percentile"}} {
		if n, ok := number(v, field.name); ok {
			list = append(list, Gauge{Name: field.label, Value: n / float64(time.Millisecond), Unit: "ms"})
		}
	}
	return list
}

// number returns a field's value, if there is such a number.
func number(v reflect.Value, field string) (float64, bool) {
	f := v.FieldByName(field)
	switch {
	case !f.IsValid():
		return 0, false
	case f.CanInt():
		return float64(f.Int()), true
	case f.CanUint():
		return float64(f.Uint()), true
	case f.CanFloat():
		return f.Float(), true
	default:
		return 0, false
	}
}
