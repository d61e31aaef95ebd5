// Package plots draws the two tables that matter most, from the file that
// benchstat reads.
package plots

import (
	"bufio"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/pedro-go/pedro/bench/harness"
)

// row is what a plot shows of a line.
type row struct {
	name, stack string
	callers     int
	latency     string
	rate        float64
}

var line = regexp.MustCompile(`^Benchmark(\S+?)/callers=(\d+)/n=\d+/latency=(\S+?)/stack=(\S+) \d+ ([\d.]+) ns/op`)

// Draw reads benchmarks.txt in the directory and writes SVG files to plots/
// below it, light and dark.
func Draw(dir string) error {
	rows, err := read(filepath.Join(dir, "benchmarks.txt"))
	if err != nil {
		return err
	}
	out := filepath.Join(dir, "plots")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, c := range []struct{ name, file, title string }{
		{"cache/get", "cache-get", "Reading a cached value from Redis, by concurrent callers"},
		{"session/read", "session-read", "A page with a login, 32 connections"},
	} {
		for _, t := range themes {
			if err := draw(filepath.Join(out, c.file+"-"+t.name+".svg"), c.title, of(rows, c.name), t); err != nil {
				return fmt.Errorf("plot %s: %w", c.name, err)
			}
		}
	}
	return nil
}

func read(path string) ([]row, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []row
	for s := bufio.NewScanner(f); s.Scan(); {
		m := line.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		callers, err1 := strconv.Atoi(m[2])
		ns, err2 := strconv.ParseFloat(m[5], 64)
		if err1 != nil || err2 != nil || ns <= 0 {
			return nil, fmt.Errorf("%s: %q", path, s.Text())
		}
		rows = append(rows, row{name: m[1], callers: callers, latency: m[3], stack: strings.ReplaceAll(m[4], "_", " "), rate: 1e9 / ns})
	}
	return rows, nil
}

// of returns the rows of a case without added latency.
func of(rows []row, name string) []row {
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.name != name || r.latency != "0s" })
}

type theme struct {
	name                   string
	background, text, grid color.Color
	ours                   color.Color
	others                 []color.Color
}

var themes = []theme{
	{
		name: "light", background: color.White, text: color.Gray{Y: 0x24}, grid: color.Gray{Y: 0xdd}, ours: color.RGBA{R: 0x0b, G: 0x6e, B: 0x4f, A: 0xff},
		others: []color.Color{color.Gray{Y: 0x60}, color.Gray{Y: 0x88}, color.Gray{Y: 0xa8}, color.Gray{Y: 0xc4}},
	},
	{
		name: "dark", background: color.RGBA{R: 0x0d, G: 0x11, B: 0x17, A: 0xff}, text: color.Gray{Y: 0xe0}, grid: color.Gray{Y: 0x33}, ours: color.RGBA{R: 0x3f, G: 0xc0, B: 0x8f, A: 0xff},
		others: []color.Color{color.Gray{Y: 0xc4}, color.Gray{Y: 0xa0}, color.Gray{Y: 0x80}, color.Gray{Y: 0x60}},
	},
}

// draw makes a bar for each stack: grouped by callers if there are several
// numbers of them, else one for each stack.
func draw(path, title string, rows []row, t theme) error {
	if len(rows) == 0 {
		return nil // not part of the run
	}
	var stacks []string
	var callers []int
	for _, r := range rows {
		if !slices.Contains(stacks, r.stack) {
			stacks = append(stacks, r.stack)
		}
		if !slices.Contains(callers, r.callers) {
			callers = append(callers, r.callers)
		}
	}
	p := plot.New()
	dress(p, t)
	p.Title.Text = title
	p.Y.Label.Text = "a second, in thousands"
	p.Y.Min = 0
	width := vg.Points(22)
	if len(callers) == 1 {
		width = vg.Points(40)
	}
	for i, stack := range stacks {
		values := make(plotter.Values, len(callers))
		for k, n := range callers {
			values[k] = median(rows, stack, n) / 1e3
		}
		bars, err := plotter.NewBarChart(values, width)
		if err != nil {
			return err
		}
		bars.LineStyle.Width = 0
		bars.Color = t.others[i%len(t.others)]
		if strings.HasPrefix(stack, "pedro") {
			bars.Color = t.ours
		}
		if len(callers) > 1 {
			bars.Offset = width * vg.Length(float64(i)-float64(len(stacks)-1)/2)
			p.Legend.Add(stack, bars)
		} else {
			bars.XMin = float64(i)
		}
		p.Add(bars)
	}
	labels := make([]string, 0, len(stacks))
	if len(callers) > 1 {
		for _, n := range callers {
			labels = append(labels, harness.Params{Callers: n}.String())
		}
	} else {
		for _, s := range stacks {
			labels = append(labels, strings.NewReplacer(" + ", "\n+ ", ", ", ",\n", "/sessions", "\nsessions", "express-", "express-\n").Replace(s))
		}
	}
	p.NominalX(labels...)
	if len(callers) == 1 {
		p.X.Min, p.X.Max = -0.6, float64(len(stacks))-0.4 // room for the outer labels
	}
	p.Legend.Top, p.Legend.Left = true, true
	return p.Save(9*vg.Inch, 4*vg.Inch, path)
}

func median(rows []row, stack string, callers int) float64 {
	var rates []float64
	for _, r := range rows {
		if r.stack == stack && r.callers == callers {
			rates = append(rates, r.rate)
		}
	}
	return harness.Median(rates)
}

func dress(p *plot.Plot, t theme) {
	p.BackgroundColor = t.background
	p.Title.TextStyle.Color = t.text
	p.Title.Padding = vg.Points(8)
	p.Legend.TextStyle.Color = t.text
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Tick.Color = t.text, t.text
		a.Label.TextStyle.Color, a.Tick.Label.Color = t.text, t.text
	}
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = t.grid
	p.Add(grid)
}
