package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// A change is what a request does to one key. It can be done again, on what
// another request has saved meanwhile.
type change struct {
	blind bool                                             // what was there does not matter
	start json.RawMessage                                  // blind: what the chain begins with; nil: nothing
	chain []func(json.RawMessage) (json.RawMessage, error) // of Update
	value json.RawMessage                                  // what comes of it for this request; nil: deleted
}

// on does the change again.
func (c *change) on(stored json.RawMessage) (json.RawMessage, error) {
	if c.blind {
		stored = c.start
	}
	for _, f := range c.chain {
		var err error
		if stored, err = f(stored); err != nil {
			return nil, err
		}
	}
	return stored, nil
}

// again is on without a request: what f panics at stays as it is.
func (c *change) again(stored json.RawMessage) (value json.RawMessage) {
	defer func() {
		if recover() != nil {
			value = stored
		}
	}()
	if v, err := c.on(stored); err == nil {
		return v
	}
	return stored
}

// Get returns the value of a key. It is false if there is none, or if what is
// there does not fit T. The value is a copy: to change it, set it again.
func Get[T any](s *Session, key string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	return get[T](s, key)
}

func get[T any](s *Session, key string) (v T, ok bool) {
	raw, ok := s.value(key)
	if !ok {
		return v, false
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		var zero T
		return zero, false
	}
	return v, true
}

// Set sets a key. Values are stored as JSON. Setting what is there already
// changes nothing and saves nothing. If parallel requests set the same key, the
// later save wins; different keys never harm one another.
//
// The error is [ErrUnavailable] if the request has a session that cannot be
// asked for, or [Config].Fallback forbids changes while Redis is away,
// [ErrHeadersSent] if a session would have to be made after the response has begun,
// [ErrTooLarge], or that of encoding the value or of a key that is not UTF-8 or
// that [WithExpressSessions] gives another meaning.
func Set[T any](s *Session, key string, v T) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("session: set %q: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	return s.put(key, &change{blind: true, start: raw, value: raw})
}

// Update sets a key to what f makes of its value, the zero value if it has
// none: for counters and lists. If another request saves the key first, f is
// called again with what that saved, so f must have no other effect, and it must
// not use the session, which waits for it: read other keys before. That may be
// after the response, on another goroutine, if Redis was away meanwhile: f must not
// use anything of the request then, and what it panics at stays as it is. Errors
// are those of [Set].
func Update[T any](s *Session, key string, f func(T) T) error {
	step := func(raw json.RawMessage) (json.RawMessage, error) {
		var v T
		if raw != nil {
			if err := json.Unmarshal(raw, &v); err != nil {
				var zero T
				v = zero
			}
		}
		return json.Marshal(f(v))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	raw, _ := s.value(key)
	value, err := step(raw)
	if err != nil {
		return fmt.Errorf("session: update %q: %w", key, err)
	}
	c := &change{chain: []func(json.RawMessage) (json.RawMessage, error){step}, value: value}
	if before := s.changes[key]; before != nil {
		c.blind, c.start = before.blind, before.start
		c.chain = append(slices.Clone(before.chain), step)
	}
	return s.put(key, c)
}

// Pop returns the value of a key and deletes it: for messages that are shown
// once. While changes are refused, see [FallbackReadOnly], it finds nothing, and
// the value stays for later.
func Pop[T any](s *Session, key string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	v, ok := get[T](s, key)
	if _, there := s.value(key); there && s.put(key, &change{blind: true}) != nil {
		var zero T
		return zero, false
	}
	return v, ok
}

// Delete removes a key. It does nothing if there is none. While changes are
// refused the response is 503.
func (s *Session) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	if _, there := s.value(key); there {
		s.note(key, &change{blind: true})
	}
}

// note has a change saved.
func (s *Session) note(key string, c *change) {
	if s.changes == nil {
		s.changes = map[string]*change{}
	}
	s.changes[key] = c
}

// put notes a change, unless the session could not be saved with it.
func (s *Session) put(key string, c *change) error {
	if !utf8.ValidString(key) {
		return fmt.Errorf("session: the key %q is not UTF-8", key)
	}
	if err := s.m.format.accepts(key); err != nil {
		return err
	}
	if s.effective(key, c) {
		if err := s.m.store.writable(); err != nil {
			return err
		}
	}
	before, had := s.changes[key]
	s.note(key, c)
	err := s.fits()
	switch {
	case err == nil:
	case had:
		s.changes[key] = before
	default:
		delete(s.changes, key)
	}
	return err
}

// apply returns the values of cur with this request's changes; of two blind
// ones the later wins.
func (s *Session) apply(cur *record) map[string]json.RawMessage {
	values := map[string]json.RawMessage{}
	if cur != nil {
		values = cur.clone().Values
	}
	for key, c := range s.changes {
		if !s.effective(key, c) {
			continue
		}
		v := c.value
		if cur != s.base {
			var err error
			if v, err = c.on(values[key]); err != nil {
				continue // it worked before: what is stored now is of another kind
			}
		}
		if v == nil {
			delete(values, key)
		} else {
			values[key] = v
		}
	}
	return values
}

// effective reports whether a change differs from what was loaded.
func (s *Session) effective(key string, c *change) bool {
	var before json.RawMessage
	if s.base != nil {
		before = s.base.Values[key]
	}
	return !bytes.Equal(before, c.value)
}

// changed reports whether there is anything to save.
func (s *Session) changed() bool {
	for key, c := range s.changes {
		if s.effective(key, c) {
			return true
		}
	}
	return false
}
