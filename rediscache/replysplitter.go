package rediscache

// A replySplitter cuts a raw reply into its strings.
type replySplitter struct {
	rest []byte
	bad  bool
}

// array returns the length of the array that begins here, -1 if none does.
func (s *replySplitter) array() int {
	kind, n := s.head()
	if kind != '*' || s.bad {
		return -1
	}
	return n
}

// bulk returns the next string, nil for null.
func (s *replySplitter) bulk() []byte {
	kind, n := s.head()
	switch {
	case s.bad || kind == '_' || n < 0:
		return nil
	case kind != '$' || len(s.rest) < n+2:
		s.bad = true
		return nil
	}
	value := s.rest[:n:n]
	s.rest = s.rest[n+2:]
	return value
}

// head reads a line of a type and a number.
func (s *replySplitter) head() (kind byte, n int) {
	if s.bad || len(s.rest) < 3 {
		s.bad = true
		return 0, 0
	}
	kind = s.rest[0]
	i, neg := 1, false
	for ; i < len(s.rest) && s.rest[i] != '\r'; i++ {
		switch c := s.rest[i]; {
		case c == '-' && i == 1:
			neg = true
		case c >= '0' && c <= '9' && n < 1<<27:
			n = n*10 + int(c-'0')
		default:
			s.bad = true
			return 0, 0
		}
	}
	if i+2 > len(s.rest) {
		s.bad = true
		return 0, 0
	}
	s.rest = s.rest[i+2:]
	if neg {
		n = -1
	}
	return kind, n
}
