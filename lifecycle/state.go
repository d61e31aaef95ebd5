package lifecycle

// A Phase is what a [Group] was doing with a component.
type Phase int

// The phases of a component.
const (
	PhaseStart Phase = iota + 1
	PhaseRun
	PhaseStop
)

// String returns "start", "run" or "stop".
func (p Phase) String() string {
	switch p {
	case PhaseStart:
		return "start"
	case PhaseRun:
		return "run"
	case PhaseStop:
		return "stop"
	default:
		return "unknown"
	}
}

// A State is where a [Group] is in its life. The package's documentation draws
// the transitions.
type State int

// The states of a group.
const (
	StateNew State = iota
	StateStarting
	StateRunning
	StateDraining // the group still serves, but has said that it is about to stop
	StateStopping
	StateStopped
)

// String returns the state's name in lower case, such as "running".
func (s State) String() string {
	switch s {
	case StateNew:
		return "new"
	case StateStarting:
		return "starting"
	case StateRunning:
		return "running"
	case StateDraining:
		return "draining"
	case StateStopping:
		return "stopping"
	case StateStopped:
		return "stopped"
	default:
		return "unknown"
	}
}
