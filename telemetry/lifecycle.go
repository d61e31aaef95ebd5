package telemetry

import "github.com/pedro-go/pedro/lifecycle"

func (t *Telemetry) watchGroup(g *lifecycle.Group) error {
	i := t.instruments()
	status := i.gauge("pedro.lifecycle.status", "1", "State of the process: 1 for the current one, 0 for the others")
	component := i.gauge("pedro.lifecycle.component.status", "1", "State of each component: 1 for the current one, 0 for the others")
	attempts := i.counter("pedro.lifecycle.component.attempts", "{attempt}", "How often a component's Start was called, or a task started")
	took := i.level("pedro.lifecycle.component.start.duration", "s", "How long a component's start took, failed attempts included")

	var groupStates, componentStates []string
	for s := lifecycle.StateNew; s <= lifecycle.StateStopped; s++ {
		groupStates = append(groupStates, s.String())
	}
	for s := lifecycle.ComponentWaiting; s <= lifecycle.ComponentAbandoned; s++ {
		componentStates = append(componentStates, s.String())
	}
	return i.observed(func(o observer) {
		o.states(status, g.State().String(), groupStates)
		for _, r := range g.Report() {
			name := keyComponent.String(r.Name)
			o.states(component, r.State.String(), componentStates, name)
			o.number(attempts, int64(r.Attempts), name)
			o.value(took, r.Started.Seconds(), name)
		}
	})
}
