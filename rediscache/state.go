package rediscache

// A State says how much of Redis the cache has.
type State int

const (
	// StateNew means that nobody has asked Redis anything yet.
	StateNew State = iota
	// StateUp means that every node that was asked answers.
	StateUp
	// StateDegraded means that some nodes of the Cluster are away.
	StateDegraded
	// StateDown means that Redis is away. Loads go on from the loader; writes and
	// deletes are remembered and made up for on return.
	StateDown
)

// String returns new, up, degraded or down.
func (s State) String() string {
	switch s {
	case StateNew:
		return "new"
	case StateUp:
		return "up"
	case StateDegraded:
		return "degraded"
	default:
		return "down"
	}
}

// MarshalText is String, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// State returns how much of Redis the cache has at this moment.
func (c *Cache) State() State {
	s, _ := c.link.gates.state()
	return s
}

// updateState tells the log and the observers about a change. A gate calls it
// from whatever goroutine noticed.
func (c *Cache) updateState() {
	c.stateMu.Lock()
	defer c.stateMu.Unlock()
	if c.ctx.Err() != nil {
		return // stopping is no news
	}
	to, cause := c.link.gates.state()
	from := State(c.state.Swap(int32(to)))
	if from == to {
		return
	}
	c.news = append(c.news, stateNews{from, to, cause})
	if c.telling {
		return // whoever tells goes on with this: who is told may call the cache
	}
	c.telling = true
	defer func() { c.telling = false }()
	for len(c.news) > 0 {
		one := c.news[0]
		c.news = c.news[1:]
		c.tellLocked(one)
	}
}

type stateNews struct {
	from, to State
	cause    error
}

// tellLocked tells the log and the observers, without the lock.
func (c *Cache) tellLocked(one stateNews) {
	c.stateMu.Unlock()
	defer c.stateMu.Lock()
	defer func() { // the goroutine belongs to whoever met the outage
		if v := recover(); v != nil {
			c.log.Error("a state observer panicked", "panic", v)
		}
	}()
	switch {
	case one.to == StateDown || one.to == StateDegraded:
		c.log.Warn("redis is away", "state", one.to.String(), "error", one.cause)
	case one.from == StateNew: // Start says that redis answers
	default:
		c.log.Info("redis is back", "state", one.to.String())
	}
	for _, f := range c.opts.onState {
		f(one.to, one.cause)
	}
}
