package health

import (
	"cmp"
	"crypto/sha256"
	_ "embed" // for the page's style
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// refresh is how often the page reloads itself, in seconds. A header tells the
// browser, and ?refresh=off stops it: people who need time to read must be able
// to (WCAG 2.2, criterion 2.2.2).
const refresh = 5

var (
	//go:embed page.css
	pageStyle string

	// contentSecurityPolicy lets in the page's own style, by its hash, and
	// nothing else: no script, no image, no frame, no form.
	contentSecurityPolicy = func() string {
		sum := sha256.Sum256([]byte(pageStyle))
		return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	}()
)

// page renders the view for people. It sets the headers that a page needs and
// JSON does not.
func (v *view) page(header http.Header) []byte {
	header.Set("Content-Security-Policy", contentSecurityPolicy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Frame-Options", "DENY")
	if !v.still {
		header.Set("Refresh", strconv.Itoa(refresh))
	}
	name := "Health"
	if v.everything() {
		name = cmp.Or(v.Name, name)
	}
	var m markup
	m.put(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%v %v – %v</title>
`, symbol(v.Verdict), v.words(), name)
	m.raw("<style>", pageStyle, "</style>\n</head>\n<body>\n<main>\n")
	m.put(`<header class="verdict %v">
<h1><span aria-hidden="true">%v</span> %v</h1>
`, v.Verdict, symbol(v.Verdict), v.words())
	now := time.Now()
	states := v.level >= LevelStates
	if states {
		v.putFacts(&m, now)
	}
	m.raw("</header>\n")
	if states {
		checks := slices.Clone(v.Checks)
		slices.SortStableFunc(checks, func(a, b CheckReport) int { return cmp.Compare(severity(b.Status), severity(a.Status)) })
		v.putAdvice(&m)
		v.putChecks(&m, checks, now)
		v.putHeartbeats(&m)
		v.putGauges(&m, checks)
	}
	v.putFooter(&m)
	m.raw("</main>\n</body>\n</html>\n")
	return m.Bytes()
}

// words says the verdict in a sentence.
func (v *view) words() string {
	switch {
	case len(v.Silent) > 0:
		return "The process is stuck"
	case v.Verdict == Fail && v.endpoint == endpointReady && v.Phase != Running:
		return "Not ready: " + string(v.Phase)
	case v.Verdict == Fail:
		return "Something that is needed has failed"
	case v.Phase == Draining || v.Phase == Stopping:
		return "Draining: about to stop"
	case v.Phase != Running:
		return "Not ready: " + string(v.Phase)
	case v.Verdict == Warn:
		return "Working, with warnings"
	default:
		return "All is well"
	}
}

func symbol(s Status) string { return map[Status]string{Pass: "●", Warn: "▲", Fail: "✖"}[s] }

func (v *view) putFacts(m *markup, now time.Time) {
	m.raw("<dl class=\"facts\">\n")
	fact := func(name, value string) { m.put("<div><dt>%v</dt><dd>%v</dd></div>\n", name, value) }
	if v.everything() && v.Name != "" {
		fact("Service", v.Name)
	}
	if v.everything() && v.Version != "" {
		fact("Version", v.Version)
	}
	fact("Phase", string(v.Phase))
	fact("Up for", ago(v.Uptime))
	fact("Last check", ago(now.Sub(v.At))+" ago")
	m.raw("</dl>\n")
}

func (v *view) putAdvice(m *markup) {
	if len(v.Advice) == 0 || !v.everything() {
		return
	}
	m.raw("<h2>Advice</h2>\n<ul>\n")
	for _, advice := range v.Advice {
		m.put("<li>%v</li>\n", advice)
	}
	m.raw("</ul>\n")
}

func (v *view) putChecks(m *markup, checks []CheckReport, now time.Time) {
	if len(checks) == 0 {
		return
	}
	m.raw(`<h2 id="checks">Components</h2>
<div class="scroll" role="region" aria-labelledby="checks" tabindex="0">
<table>
<caption>Components, the worst first</caption>
<thead><tr><th scope="col">Component</th><th scope="col">State</th><th scope="col">Since</th><th scope="col">Decides</th><th scope="col">Median / 99 %</th><th scope="col">Latest runs</th></tr></thead>
<tbody>
`)
	for i := range checks {
		v.putCheck(m, &checks[i], now)
	}
	m.raw("</tbody>\n</table>\n</div>\n")
}

func (v *view) putCheck(m *markup, r *CheckReport, now time.Time) {
	m.put("<tr>\n<th scope=\"row\">%v</th>\n<td>", r.Name)
	m.putState(r.Status, string(r.Status))
	if r.Class != "" {
		m.put(" %v", r.Class)
	}
	if message := v.message(r); message != "" {
		m.put(`<span class="message">%v</span>`, message)
	}
	gates, latency := "readiness", "–"
	if r.Optional {
		gates = "nothing"
	}
	if !r.At.IsZero() {
		latency = fmt.Sprintf("%.1f / %.1f ms", ms(r.P50), ms(r.P99))
	}
	m.put(`</td>
<td class="number">%v</td>
<td>%v</td>
<td class="number">%v</td>
<td>`, ago(now.Sub(r.Since)), gates, latency)
	m.putSparkline(r)
	m.raw("</td>\n</tr>\n")
}

func (v *view) putHeartbeats(m *markup) {
	if len(v.Heartbeat) == 0 {
		return
	}
	m.raw("<h2>Heartbeats</h2>\n<ul>\n")
	for _, name := range v.Heartbeat {
		m.put("<li>%v: ", name)
		if slices.Contains(v.Silent, name) {
			m.putState(Fail, "silent for too long")
		} else {
			m.putState(Pass, "beating")
		}
		m.raw("</li>\n")
	}
	m.raw("</ul>\n")
}

func (v *view) putGauges(m *markup, checks []CheckReport) {
	hasGauges := func(r CheckReport) bool { return len(r.Gauges) > 0 }
	if !v.everything() || !slices.ContainsFunc(checks, hasGauges) {
		return
	}
	m.raw("<h2>Pools and caches</h2>\n<div class=\"cards\">\n")
	for i := range checks {
		if r := &checks[i]; hasGauges(*r) {
			m.put("<section class=\"card\">\n<h3>%v</h3>\n<dl>\n", r.Name)
			for _, g := range r.Gauges {
				m.putGauge(g)
			}
			m.raw("</dl>\n</section>\n")
		}
	}
	m.raw("</div>\n")
}

func (v *view) putFooter(m *markup) {
	m.raw("<footer>\n<p>")
	if v.still {
		m.raw(`This page does not reload itself. <a href="?">Let it</a>`)
	} else {
		m.put(`This page reloads itself every %v seconds. <a href="?refresh=off">Stop that</a>`, refresh)
	}
	if !v.everything() {
		m.raw(" It shows states only: messages and numbers are for those whom the service lets see them.")
	}
	m.raw("</p>\n</footer>\n")
}

func formatNumber(f float64) string {
	if f == float64(int64(f)) {
		return strconv.FormatInt(int64(f), 10)
	}
	return fmt.Sprintf("%.1f", f)
}

// ago rounds a duration to what people want to know.
func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return "less than a second"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}
