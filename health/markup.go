package health

import (
	"bytes"
	"fmt"
	"html"
	"strings"
	"time"
)

// A markup is a page that is being written. html/template would do it too, but
// calls methods by name, so that the linker has to keep those of all types: a
// service that does not use it otherwise would be half as large again.
type markup struct{ bytes.Buffer }

// raw writes what is HTML already.
func (m *markup) raw(parts ...string) {
	for _, part := range parts {
		_, _ = m.WriteString(part)
	}
}

// put writes a format of this package's, whose verbs are all %v, inside an
// element or a quoted attribute. The arguments are text, and are escaped here.
func (m *markup) put(format string, texts ...any) {
	for i, text := range texts {
		texts[i] = html.EscapeString(fmt.Sprint(text))
	}
	_, _ = fmt.Fprintf(m, format, texts...)
}

func (m *markup) putState(s Status, words string) {
	m.put(`<span class="state %v"><span aria-hidden="true">%v</span> %v</span>`, s, symbol(s), words)
}

// The sparkline is a bar a run, in a box of these units.
const (
	barWidth  = 3
	barHeight = 20
)

// putSparkline draws the runs' durations, the longest as high as the box, by the
// square root, so that one slow run does not flatten the others.
func (m *markup) putSparkline(r *CheckReport) {
	m.put(`<svg width="180" height="20" viewBox="0 0 180 20" role="img" aria-label="%v runs, %v passed">`, len(r.History), r.passed())
	var longest time.Duration
	for _, s := range r.History {
		longest = max(longest, s.Duration)
	}
	for i, s := range r.History {
		h := 3
		for longest > 0 && h < barHeight && float64(h*h)/(barHeight*barHeight) < float64(s.Duration)/float64(longest) {
			h++
		}
		// From the right, so that the latest run is always at the same place.
		x := (historyLength - len(r.History) + i) * barWidth
		m.put(`<rect class="%v" x="%v" y="%v" width="2" height="%v"></rect>`, s.Status, x, barHeight-h, h)
	}
	m.raw("</svg>")
}

// putGauge writes a number, with a bar if there is a limit to it.
func (m *markup) putGauge(g Gauge) {
	value := formatNumber(g.Value)
	if g.Max > 0 && g.Unit != "%" {
		value += " of " + formatNumber(g.Max)
	}
	value = strings.TrimSpace(value + " " + g.Unit)
	if g.Counter {
		value += fmt.Sprintf(" (%s a second)", formatNumber(g.Rate))
	}
	m.put("<dt><span>%v</span> <span class=\"number\">%v</span></dt>\n<dd>", g.Name, value)
	if g.Max > 0 {
		class := "level"
		if g.Value >= g.Max && g.Unit != "%" {
			class += " full"
		}
		percent := int(max(0, min(100, 100*g.Value/g.Max)))
		m.raw(`<svg width="100%" height="8" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="8"></rect>`)
		m.put(`<rect class="%v" width="%v" height="8"></rect></svg>`, class, percent)
	}
	m.raw("</dd>\n")
}
