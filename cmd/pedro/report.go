package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// status says how a finding is to be taken.
type status string

const (
	ok      status = "ok"
	note    status = "note"    // to know; may be as it should be
	problem status = "problem" // to change
)

// finding is one answer of the examination.
type finding struct {
	Area      string   `json:"area"`  // environment, postgres, redis, session
	Check     string   `json:"check"` // what was looked at
	Status    status   `json:"status"`
	Found     string   `json:"found"`
	Change    string   `json:"change,omitempty"`    // what to do about it
	Variables []string `json:"variables,omitempty"` // by which
}

// setting is a variable that is set.
type setting struct {
	Name  string `json:"name"`
	Value string `json:"value"` // without secrets
}

// report is what doctor found. Its methods are for one goroutine.
type report struct {
	Healthy  bool      `json:"healthy"`
	Settings []setting `json:"settings"`
	Findings []finding `json:"findings"`

	area string
}

func (r *report) ok(check, format string, args ...any) {
	r.add(finding{Check: check, Status: ok, Found: fmt.Sprintf(format, args...)})
}

func (r *report) note(check, found, change string, variables ...string) {
	r.add(finding{Check: check, Status: note, Found: found, Change: change, Variables: variables})
}

func (r *report) problem(check, found, change string, variables ...string) {
	r.add(finding{Check: check, Status: problem, Found: found, Change: change, Variables: variables})
}

func (r *report) add(f finding) {
	f.Area = r.area
	r.Findings = append(r.Findings, f)
}

// refused adds what a package says about its configuration, one problem a line.
func (r *report) refused(err error) {
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		if _, rest, found := strings.Cut(line, "invalid config:"); found {
			line = strings.TrimSpace(rest) // a single problem stands in the first line
		}
		name, says, found := strings.Cut(line, ": ")
		if line == "" {
			continue
		}
		if !found || strings.ToUpper(name) != name {
			r.problem("settings", line, "")
			continue
		}
		names := strings.Split(name, ", ")
		r.problem("settings", name+" "+says, "", names...)
	}
}

// advised adds the advice of a component. It begins with the variables in
// capitals, or does not name any.
func (r *report) advised(advice []string) {
	for _, a := range advice {
		var names []string
		for word := range strings.FieldsFuncSeq(a, func(c rune) bool { return c != '_' && (c < 'A' || c > 'Z') }) {
			if strings.Contains(word, "_") && isVariable(word) {
				names = append(names, word)
			}
		}
		r.problem("advice", a, "", names...)
	}
}

func (r *report) count(s status) int {
	n := 0
	for _, f := range r.Findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

func (r *report) problems() int { return r.count(problem) }

func (r *report) writeJSON(w io.Writer) error {
	r.Healthy = r.problems() == 0
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r *report) writeText(w io.Writer) error {
	var b strings.Builder
	b.WriteString("Settings\n")
	if len(r.Settings) == 0 {
		b.WriteString("  none: no variable of the packages is set\n")
	}
	for _, s := range r.Settings {
		fmt.Fprintf(&b, "  %-24s %s\n", s.Name, s.Value)
	}
	area := ""
	for _, f := range r.Findings {
		if f.Area != area {
			area = f.Area
			fmt.Fprintf(&b, "\n%s\n", titles[area])
		}
		fmt.Fprintf(&b, "  %-8s %-18s %s\n", f.Status, f.Check, f.Found)
		if f.Change != "" {
			fmt.Fprintf(&b, "  %27s → %s\n", "", f.Change)
		}
	}
	switch n, notes := r.problems(), r.count(note); {
	case n == 0 && notes == 0:
		b.WriteString("\nAll is well.\n")
	default:
		fmt.Fprintf(&b, "\n%s, %s.\n", plural(n, "problem"), plural(notes, "note"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var titles = map[string]string{"environment": "Environment", "postgres": "PostgreSQL", "redis": "Redis", "session": "Sessions"}

func plural(n int, what string) string {
	switch n {
	case 0:
		return "no " + what + "s"
	case 1:
		return "1 " + what
	default:
		return fmt.Sprintf("%d %ss", n, what)
	}
}
