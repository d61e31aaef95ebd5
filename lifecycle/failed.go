package lifecycle

import "errors"

// watch waits for a running component to end by itself, until the group stops.
func (g *Group) watch(m *member, f Failer) {
	defer close(m.watched)
	m.failed = f.Failed()
	select {
	case <-g.quit:
	case err := <-m.failed:
		select {
		case <-g.quit: // Run has stopped waiting: leave it to lastWords
			again := make(chan error, 1)
			again <- err
			m.failed = again
		default:
			g.fail(m, err)
		}
	}
}

// fail records the end of a component that ended by itself, and tells Run.
func (g *Group) fail(m *member, err error) {
	err = g.ended(m, err)
	if m.opts.optional {
		return
	}
	g.mu.Lock()
	g.failure = append(g.failure, err)
	g.mu.Unlock()
	select {
	case g.failed <- err:
	default: // an earlier failure has done it
	}
}

// lastWords returns the error of a component that ended by itself and whom
// nobody heard: since the group began to stop, or so shortly before that the
// watch saw that first. A task that has nothing more to do then is none.
func (g *Group) lastWords(m *member) error {
	if m.watched == nil {
		return nil
	}
	<-m.watched // ends with g.quit
	select {
	case err := <-m.failed:
		if errors.Is(err, ErrEnded) {
			return nil
		}
		err = g.ended(m, err)
		if m.opts.optional {
			return nil
		}
		return err
	default:
		return nil
	}
}

// ended records that a component ended by itself.
func (g *Group) ended(m *member, err error) error {
	err = &ComponentError{Name: m.name, Phase: PhaseRun, Err: err}
	g.observe(Event{Component: m.name, Phase: PhaseRun, Err: err})
	g.update(m, func(r *Report) { r.State, r.Err = ComponentFailed, err })
	return err
}
