package lifecycle

import "time"

// An Event describes one finished step of a [Group]. See [WithObserver].
type Event struct {
	Component string
	Phase     Phase
	Duration  time.Duration
	Attempt   int   // of a start or a restart, counted from 1
	Err       error // nil if the step succeeded
}

// A Report says how a component has fared. It is a copy.
type Report struct {
	Name     string
	State    ComponentState
	Optional bool
	Attempts int           // how often Start was called, or how often a task was started
	Started  time.Duration // how long the successful Start took, its failed attempts included
	Stopped  time.Duration // how long Stop took
	Err      error         // the last failure, nil after a later success
}

// A ComponentState is where a component is in its life.
type ComponentState int

// The states of a component.
const (
	ComponentWaiting  ComponentState = iota // for those before it
	ComponentStarting                       // or, if optional, still trying in the background
	ComponentRunning
	ComponentFailed // to start, or ended by itself
	ComponentStopping
	ComponentStopped
	ComponentAbandoned // its Stop ignored its context
)

// String returns the state's name in lower case, such as "running".
func (s ComponentState) String() string {
	names := [...]string{"waiting", "starting", "running", "failed", "stopping", "stopped", "abandoned"}
	if s < 0 || int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

// Report returns one entry a component, in the order in which they were added.
func (g *Group) Report() []Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]Report, len(g.members))
	for i, m := range g.members {
		list[i] = m.report
	}
	return list
}
