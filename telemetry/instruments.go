package telemetry

import (
	"context"
	"errors"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The attributes that the conventions have no names for.
const (
	keyNamespace = attribute.Key("pedro.cache.namespace")
	keyCheck     = attribute.Key("pedro.health.check")
	keyComponent = attribute.Key("pedro.lifecycle.component")
	keyEvent     = attribute.Key("pedro.event")
	keyKind      = attribute.Key("pedro.kind")
	keyOutcome   = attribute.Key("pedro.outcome")
	keyReason    = attribute.Key("pedro.reason")
	keyState     = attribute.Key("pedro.state")
)

// instruments makes the instruments that one callback observes.
type instruments struct {
	meter metric.Meter
	all   []metric.Observable
	err   error
}

func (t *Telemetry) instruments() *instruments { return &instruments{meter: t.meter} }

// counter only grows. gauge goes up and down and adds up over processes; level
// does not add up.
func (i *instruments) counter(name, unit, about string) metric.Int64Observable {
	c, err := i.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(about))
	return i.made(c, err)
}

func (i *instruments) gauge(name, unit, about string) metric.Int64Observable {
	c, err := i.meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(about))
	return i.made(c, err)
}

func (i *instruments) level(name, unit, about string) metric.Float64Observable {
	g, err := i.meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(about))
	i.all = append(i.all, g)
	i.err = errors.Join(i.err, err)
	return g
}

func (i *instruments) made(o metric.Int64Observable, err error) metric.Int64Observable {
	i.all = append(i.all, o)
	i.err = errors.Join(i.err, err)
	return o
}

// observed registers what observes them.
func (i *instruments) observed(by func(o observer)) error {
	if i.err != nil {
		return i.err
	}
	_, err := i.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		by(observer{o})
		return nil
	}, i.all...)
	return err
}

// observer takes the numbers of one collection.
type observer struct{ metric.Observer }

func (o observer) number(i metric.Int64Observable, n int64, attrs ...attribute.KeyValue) {
	o.ObserveInt64(i, n, metric.WithAttributes(attrs...))
}

func (o observer) value(i metric.Float64Observable, v float64, attrs ...attribute.KeyValue) {
	o.ObserveFloat64(i, v, metric.WithAttributes(attrs...))
}

// states is one time series for each state that there can be, of which the
// current one is 1, as the conventions have it for hw.status.
func (o observer) states(i metric.Int64Observable, current string, all []string, attrs ...attribute.KeyValue) {
	for _, s := range all {
		o.number(i, flag(s == current), append(slices.Clip(attrs), keyState.String(s))...)
	}
}

func flag(is bool) int64 {
	if is {
		return 1
	}
	return 0
}
