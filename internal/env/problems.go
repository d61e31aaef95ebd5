package env

import (
	"errors"
	"fmt"
	"strings"
)

// Problems collects what is wrong with a Config, so that a host learns it all
// at once. The zero value is empty and ready to use. It is not safe for
// concurrent use.
type Problems struct { //nolint:errname // a collection first, and only by Err an error
	kind  error // the package's ErrInvalidConfig
	lines []string
}

// Add notes a problem of a variable or, where it has none, a field. The text
// says what is wrong and how to mend it; it must not repeat the value of
// anything that could be a secret.
func (p *Problems) Add(name, format string, args ...any) {
	p.lines = append(p.lines, name+": "+fmt.Sprintf(format, args...))
}

// AddErr takes over the problems of another collection, such as the error of
// Load. Any other error becomes one problem; nil is none.
func (p *Problems) AddErr(err error) {
	if err == nil {
		return
	}
	if other, ok := errors.AsType[*Problems](err); ok {
		p.lines = append(p.lines, other.lines...)
		return
	}
	p.lines = append(p.lines, err.Error())
}

// Err returns nil if there are no problems, else an error that lists them and
// wraps kind, the ErrInvalidConfig of the package.
func (p *Problems) Err(kind error) error {
	if len(p.lines) == 0 {
		return nil
	}
	return &Problems{kind: kind, lines: p.lines}
}

// Error returns the kind and the problems: one on the same line, several on a
// line each.
func (p *Problems) Error() string {
	var prefix string
	if p.kind != nil {
		prefix = p.kind.Error() + ": "
	}
	if len(p.lines) == 1 {
		return prefix + p.lines[0]
	}
	return strings.TrimSuffix(prefix, " ") + "\n\t" + strings.Join(p.lines, "\n\t")
}

// Unwrap returns the kind.
func (p *Problems) Unwrap() error { return p.kind }
