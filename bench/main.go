// Command bench measures pedro and its peers, side by side in one run, and
// writes the report.
//
//	make bench                    everything
//	make bench CASE=health        the cases whose names match
//	make bench-guard              the key ratios, short, against floors.toml
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/pedro-go/pedro/bench/cases"
	"github.com/pedro-go/pedro/bench/harness"
)

func main() {
	if child, err := cases.Child(); child {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	pattern := flag.String("case", "", "a regular expression for the cases' names; empty means all")
	rounds := flag.Int("rounds", 9, "how many rounds")
	slice := flag.Duration("slice", 300*time.Millisecond, "how long a stack works in a round")
	dir := flag.String("out", "", "the directory for benchmarks.md and benchmarks.txt; empty prints the tables")
	flag.Parse()
	match, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("-case: %w", err)
	}
	o := harness.Options{Rounds: *rounds, Slice: *slice, Warmup: *slice, Log: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	}}
	var tables []harness.Table
	servers := &cases.Servers{}
	defer servers.Close()
	for _, c := range servers.All() {
		if !match.MatchString(c.Name) {
			continue
		}
		t, err := harness.Run(ctx, c, o)
		tables = append(tables, t...)
		if err != nil {
			return err
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	var report strings.Builder
	preamble(&report, o)
	harness.Markdown(&report, tables)
	if match.MatchString("health") {
		faults(ctx, &report)
	}
	if *dir == "" {
		fmt.Print(report.String())
		return nil
	}
	var raw strings.Builder
	harness.Benchfmt(&raw, tables)
	if err := os.WriteFile(filepath.Join(*dir, "benchmarks.txt"), []byte(raw.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*dir, "benchmarks.md"), []byte(report.String()), 0o644)
}

// preamble says what was measured with.
func preamble(b *strings.Builder, o harness.Options) {
	fmt.Fprintf(b, `# Benchmarks

Made by `+"`make bench`"+`: %d rounds, in which the stacks of a case take turns in slices of %v. The ratio is to the first row,
within each round; what is quoted is the median, with the least and the most. Every answer is checked. On a machine that
others use too, absolute rates mean little; ratios hold.

%s on %s/%s with %d processors, %s.

| Module | Version |
|---|---|
`, o.Rounds, o.Slice, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if peers.MatchString(d.Path) {
				fmt.Fprintf(b, "| %s | %s |\n", d.Path, d.Version)
			}
		}
	}
}

// peers are the modules whose versions the report names.
var peers = regexp.MustCompile(`health|k8s.io/apiserver|go-redis|rueidis|otter|pgx|lib/pq|sqlx|bun$|scs|sessions|redisstore`)

func faults(ctx context.Context, b *strings.Builder) {
	b.WriteString("\n## health/faults\n\nFour probes, one after the other, while one check misbehaves.\n\n| | fault | answers | slowest | runs of the checks |\n|---|---|---|--:|--:|\n")
	for _, f := range cases.HealthFaults(ctx) {
		fmt.Fprintf(b, "| %s | %s | %s | %v | %d |\n", f.Stack, f.Fault, f.Answer, f.Slowest.Round(100*time.Microsecond), f.Runs)
	}
}
