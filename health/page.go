package health

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // for the page's template and style
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// refresh is how often the page reloads itself, in seconds. A header tells the
// browser, and ?refresh=off stops it: people who need time to read must be able
// to (WCAG 2.2, criterion 2.2.2).
const refresh = 5

var (
	//go:embed page.html.tmpl
	pageSource string
	//go:embed page.css
	pageStyle string

	pageTemplate = template.Must(template.New("page").Parse(pageSource))

	// contentSecurityPolicy lets in the page's own style, by its hash, and
	// nothing else: no script, no image, no frame, no form.
	contentSecurityPolicy = func() string {
		sum := sha256.Sum256([]byte(pageStyle))
		return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	}()
)

// pageData is what the template shows. Everything is text by then.
type pageData struct {
	Style      template.CSS
	Refresh    int // 0: not
	Title      string
	Verdict    Status
	Words      string // the verdict
	Symbol     string
	Facts      []fact
	Checks     []pageCheck
	Gauges     []pageGauges
	Heartbeats []pageHeartbeat
	Advice     []string
	Limited    bool // there is more than is shown
}

type fact struct{ Name, Value string }

type pageCheck struct {
	Name, Symbol     string
	Status           Status
	Gates            string // what it decides
	Problem, Message string
	Since, Latency   string
	Bars             []bar
	BarsLabel        string
}

// bar is a run in the sparkline.
type bar struct {
	X, Y, Height int
	Status       Status
}

type pageGauges struct {
	Name string
	List []pageGauge
}

type pageGauge struct {
	Name, Value string
	HasBar      bool
	Percent     int
	Full        bool
}

type pageHeartbeat struct {
	Name, Symbol, Words string
	Status              Status
}

// page renders the view for people. It sets the headers that a page needs and
// JSON does not.
func (v *view) page(header http.Header) []byte {
	header.Set("Content-Security-Policy", contentSecurityPolicy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Frame-Options", "DENY")
	now := time.Now()
	d := pageData{
		Style:   template.CSS(pageStyle), //nolint:gosec // our own file
		Verdict: v.Verdict,
		Symbol:  symbol(v.Verdict),
		Words:   v.words(),
		Limited: !v.everything(),
	}
	if !v.still {
		d.Refresh = refresh
		header.Set("Refresh", strconv.Itoa(refresh))
	}
	name := "Health"
	if v.everything() {
		name = cmp.Or(v.Name, name)
	}
	d.Title = fmt.Sprintf("%s %s – %s", d.Symbol, d.Words, name)
	if v.level >= LevelStates {
		v.fill(&d, now)
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, d); err != nil { // cannot be: the data is ours
		return []byte(string(v.Verdict) + "\n")
	}
	return b.Bytes()
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

func (v *view) fill(d *pageData, now time.Time) {
	if v.everything() && v.Name != "" {
		d.Facts = append(d.Facts, fact{"Service", v.Name})
	}
	if v.everything() && v.Version != "" {
		d.Facts = append(d.Facts, fact{"Version", v.Version})
	}
	d.Facts = append(d.Facts,
		fact{"Phase", string(v.Phase)},
		fact{"Up for", ago(v.Uptime)},
		fact{"Last check", ago(now.Sub(v.At)) + " ago"})
	if v.everything() {
		d.Advice = v.Advice
	}
	for _, name := range v.Heartbeat {
		h := pageHeartbeat{Name: name, Status: Pass, Symbol: symbol(Pass), Words: "beating"}
		if slices.Contains(v.Silent, name) {
			h.Status, h.Symbol, h.Words = Fail, symbol(Fail), "silent for too long"
		}
		d.Heartbeats = append(d.Heartbeats, h)
	}
	checks := slices.Clone(v.Checks)
	slices.SortStableFunc(checks, func(a, b CheckReport) int { return cmp.Compare(severity(b.Status), severity(a.Status)) })
	for i := range checks {
		r := &checks[i]
		d.Checks = append(d.Checks, v.pageCheck(r, now))
		if gauges := v.gauges(r); len(gauges) > 0 {
			d.Gauges = append(d.Gauges, pageGauges{Name: r.Name, List: gauges})
		}
	}
}

func (v *view) pageCheck(r *CheckReport, now time.Time) pageCheck {
	c := pageCheck{
		Name: r.Name, Status: r.Status, Symbol: symbol(r.Status),
		Gates: "readiness", Problem: r.Class, Message: v.message(r),
		Since: ago(now.Sub(r.Since)), Latency: "–",
	}
	if r.Optional {
		c.Gates = "nothing"
	}
	if !r.At.IsZero() {
		c.Latency = fmt.Sprintf("%.1f / %.1f ms", ms(r.P50), ms(r.P99))
	}
	c.Bars = sparkline(r.History)
	c.BarsLabel = fmt.Sprintf("%d runs, %d passed", len(r.History), r.passed())
	return c
}

// The sparkline is a bar a run, in a box of these units.
const (
	barWidth  = 3
	barHeight = 20
)

// sparkline draws the runs' durations, the longest as high as the box, by the
// square root, so that one slow run does not flatten the others.
func sparkline(history []Sample) []bar {
	var longest time.Duration
	for _, s := range history {
		longest = max(longest, s.Duration)
	}
	bars := make([]bar, len(history))
	for i, s := range history {
		h := 3
		for longest > 0 && h < barHeight && float64(h*h)/(barHeight*barHeight) < float64(s.Duration)/float64(longest) {
			h++
		}
		// From the right, so that the latest run is always at the same place.
		x := (historyLength - len(history) + i) * barWidth
		bars[i] = bar{X: x, Y: barHeight - h, Height: h, Status: s.Status}
	}
	return bars
}

func (v *view) gauges(r *CheckReport) []pageGauge {
	if !v.everything() {
		return nil
	}
	var list []pageGauge
	for _, g := range r.Gauges {
		p := pageGauge{Name: g.Name, Value: formatNumber(g.Value)}
		if g.Max > 0 {
			p.HasBar = true
			p.Percent = int(max(0, min(100, 100*g.Value/g.Max)))
			p.Full = g.Value >= g.Max && g.Unit != "%"
			if g.Unit != "%" {
				p.Value += " of " + formatNumber(g.Max)
			}
		}
		p.Value = strings.TrimSpace(p.Value + " " + g.Unit)
		if g.Counter {
			p.Value += fmt.Sprintf(" (%s a second)", formatNumber(g.Rate))
		}
		list = append(list, p)
	}
	return list
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
