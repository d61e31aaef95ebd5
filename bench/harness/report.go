package harness

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Markdown writes the tables as they stand in the report.
func Markdown(w io.Writer, tables []Table) {
	last := ""
	for _, t := range tables {
		if t.Case != last {
			fmt.Fprintf(w, "\n## %s\n\n%s\n", t.Case, t.About)
			last = t.Case
		}
		fmt.Fprintf(w, "\n### %s\n\n", t.Params)
		names := t.counterNames()
		fmt.Fprintf(w, "| | a second | ratio (least … most) | p50 | p99 | allocs | bytes | CPU |%s\n", columns(names))
		fmt.Fprintf(w, "|---|--:|--:|--:|--:|--:|--:|--:|%s\n", strings.Repeat("--:|", len(names)))
		for _, r := range t.Rows {
			name := r.Stack
			if r.Ours {
				name = "**" + name + "**"
			}
			if r.Err != nil {
				fmt.Fprintf(w, "| %s | void: %s |\n", name, strings.ReplaceAll(firstLine(r.Err.Error()), "|", "/"))
				continue
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s |", name, short(Median(r.Rate)), spread(r.Ratio),
				brief(Median(r.P50)), brief(Median(r.P99)), known("%.1f", Median(r.Allocs)), known("%.0f", Median(r.Bytes)), used(Median(r.CPU)))
			for _, name := range names {
				fmt.Fprintf(w, " %.2f |", Median(r.Counters[name]))
			}
			fmt.Fprintln(w)
		}
	}
}

// known is a number in a format, or a dash if there is none.
func known(format string, f float64) string {
	if math.IsNaN(f) {
		return "–"
	}
	return fmt.Sprintf(format, f)
}

// used is processor time, or a dash if it is not known.
func used(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return brief(d)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func columns(names []string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, " %s |", name)
	}
	return b.String()
}

func (t *Table) counterNames() []string {
	var names []string
	for _, r := range t.Rows {
		for name := range r.Counters {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// spread is a ratio's median and its extremes.
func spread(ratios []float64) string {
	if len(ratios) == 0 {
		return "–"
	}
	return fmt.Sprintf("**%.2f** (%.2f … %.2f)", Median(ratios), slices.Min(ratios), slices.Max(ratios))
}

// short writes a number as people say it.
func short(f float64) string {
	switch {
	case f >= 1e6:
		return fmt.Sprintf("%.2f M", f/1e6)
	case f >= 1e4:
		return fmt.Sprintf("%.1f k", f/1e3)
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	default:
		return fmt.Sprintf("%.1f", f)
	}
}

func brief(d time.Duration) string {
	switch {
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d >= 10*time.Microsecond:
		return fmt.Sprintf("%.0f µs", d.Seconds()*1e6)
	default:
		return fmt.Sprintf("%.1f µs", d.Seconds()*1e6)
	}
}

// Benchfmt writes the rounds as lines that benchstat reads, which passes over
// everything else.
func Benchfmt(w io.Writer, tables []Table) {
	fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: github.com/pedro-go/pedro/bench\n", runtime.GOOS, runtime.GOARCH)
	for _, t := range tables {
		for _, r := range t.Rows {
			for i, rate := range r.Rate {
				fmt.Fprintf(w, "Benchmark%s/callers=%d/n=%d/latency=%v/stack=%s 1 %.1f ns/op",
					strings.ReplaceAll(t.Case, " ", "_"), max(t.Params.Callers, 1), t.Params.N, t.Params.Latency,
					strings.ReplaceAll(r.Stack, " ", "_"), 1e9/rate)
				fmt.Fprintf(w, " %d p99-ns %d cpu-ns/op", r.P99[i].Nanoseconds(), r.CPU[i].Nanoseconds())
				if !math.IsNaN(r.Bytes[i]) {
					fmt.Fprintf(w, " %.1f B/op %.2f allocs/op", r.Bytes[i], r.Allocs[i])
				}
				fmt.Fprintln(w)
			}
		}
	}
}
