package health

import (
	"encoding/json"
	"math"
)

// collect calls the functions that tell more about the component. A panic in
// one of them must not end the process, nor fail the check.
func (ch *check) collect(r *result) {
	defer ch.caught("details")
	if ch.opts.details != nil {
		r.details = ch.opts.details()
		r.encoded = ch.encode(r.details)
		r.gauges = appendFinite(r.gauges, derived(r.details))
	}
	if ch.opts.gauges != nil {
		r.gauges = appendFinite(r.gauges, ch.opts.gauges())
	}
	if ch.opts.advise != nil {
		r.advice = ch.opts.advise()
	}
}

// notJSON stands for details that encoding/json cannot render.
const notJSON = `"cannot be shown as JSON"`

// encode renders details. They come from the host and may be anything: what
// cannot be rendered must hide no other check's, nor take an endpoint down.
func (ch *check) encode(details any) (data json.RawMessage) {
	defer func() {
		if v := recover(); v != nil {
			ch.logPanic("details", v)
			data = json.RawMessage(notJSON)
		}
	}()
	if details == nil {
		return nil
	}
	data, err := json.Marshal(details)
	if err != nil {
		return json.RawMessage(notJSON)
	}
	return data
}

// appendFinite appends the gauges that have numbers: a ratio of nothing has
// none, and JSON knows neither NaN nor infinity.
func appendFinite(list, more []Gauge) []Gauge {
	for _, g := range more {
		if isFinite(g.Value) && isFinite(g.Max) && isFinite(g.Rate) {
			list = append(list, g)
		}
	}
	return list
}

func isFinite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }
