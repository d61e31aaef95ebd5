package session

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// How large a session is, and may be. What a handler sets is measured when it
// does so, without encoding it, so that whoever set too much is told; the store
// measures again what it is about to save.

// spare is what a record takes beside its values, its user, the user agent, its
// marks and Express' cookie, at most.
const spare = 512

// markBytes is what one of a record's marks takes, at most.
const markBytes = 11

// fits returns ErrTooLarge if the session with its changes is too large, and holds
// more than what was loaded.
func (s *Session) fits() error {
	was := s.base.holds()
	now := was
	for key, c := range s.changes {
		if s.base != nil {
			if old, ok := s.base.Values[key]; ok {
				now -= property(key, old)
			}
		}
		if c.value != nil {
			now += property(key, c.value)
		}
	}
	size := now + s.besides()
	if size <= s.m.cfg.MaxBytes || now <= was {
		return nil
	}
	return tooLarge(&record{Values: s.apply(s.base)}, size, s.m.cfg.MaxBytes)
}

// loginFits is fits for a login: what the session holds already does not keep its
// user out.
func (s *Session) loginFits() error {
	if n := s.besides(); n > s.m.cfg.MaxBytes {
		return fmt.Errorf("%w: %d bytes with the user ID alone, SESSION_MAX_BYTES is %d", ErrTooLarge, n, s.m.cfg.MaxBytes)
	}
	return s.fits()
}

// besides is what the record takes beside its values, roughly, and rather too
// much.
func (s *Session) besides() int {
	agent := s.r.UserAgent()
	n := spare + textBytes(agent[:min(len(agent), maxAgent)]) + textBytes(s.user())
	if s.base == nil {
		return n
	}
	n += markBytes * len(s.base.Marks)
	if f := s.base.foreign; f != nil {
		n += len(f.cookie)
	}
	return n
}

// holds is what the values take in the encoded record.
func (r *record) holds() (n int) {
	if r == nil {
		return 0
	}
	for key, value := range r.Values {
		n += property(key, value)
	}
	return n
}

// property is what a value takes, with its key, a colon and a comma.
func property(key string, value json.RawMessage) int { return textBytes(key) + len(value) + 2 }

// textBytes is the length of a string in JSON, as encoding/json writes it.
func textBytes(s string) int {
	n := len(s) + 2
	for _, r := range s {
		switch r {
		case '"', '\\', '\n', '\r', '\t', '\b', '\f':
			n++
		case '<', '>', '&':
			n += 5 // \u003c
		case '\u2028', '\u2029':
			n += 3
		default:
			if r < ' ' {
				n += 5
			}
		}
	}
	return n
}

// tooLarge names the keys that take most.
func tooLarge(r *record, size, limit int) error {
	type item struct {
		key string
		n   int
	}
	var items []item
	for key, value := range r.Values {
		items = append(items, item{key, len(value)})
	}
	slices.SortFunc(items, func(a, b item) int { return b.n - a.n })
	var names []string
	for _, i := range items[:min(3, len(items))] {
		names = append(names, fmt.Sprintf("%q (%d bytes)", i.key, i.n))
	}
	return fmt.Errorf("%w: %d bytes, SESSION_MAX_BYTES is %d; the largest keys are %s", ErrTooLarge, size, limit, strings.Join(names, ", "))
}
