package health

import (
	"fmt"
	"slices"
	"strings"
)

// text renders the view in the form of the Kubernetes API server's ?verbose: a
// line a check and the verdict.
func (v *view) text() []byte {
	var b strings.Builder
	if v.level >= LevelStates {
		for _, name := range v.Heartbeat {
			sign := "+"
			if slices.Contains(v.Silent, name) {
				sign = "-"
			}
			fmt.Fprintf(&b, "[%s]heartbeat/%s\n", sign, name)
		}
		for i := range v.Checks {
			r := &v.Checks[i]
			fmt.Fprintf(&b, "[%s]%s %s", map[Status]string{Pass: "+", Warn: "!", Fail: "-"}[r.Status], r.Name, r.Status)
			if text := v.message(r); text != "" {
				fmt.Fprintf(&b, ": %s", oneLine(text))
			} else if r.Class != "" {
				fmt.Fprintf(&b, ": %s", r.Class)
			}
			b.WriteByte('\n')
		}
		if v.endpoint == endpointDetailed && v.everything() {
			for _, text := range v.Advice {
				fmt.Fprintf(&b, "advice: %s\n", oneLine(text))
			}
		}
		if v.Phase != Running {
			fmt.Fprintf(&b, "phase: %s\n", v.Phase)
		}
	}
	fmt.Fprintf(&b, "%s\n", v.Verdict)
	return []byte(b.String())
}

// oneLine keeps a text from looking like several lines of ours.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
