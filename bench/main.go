// Command bench measures pedro and its peers, side by side in one run, and
// writes the report.
//
//	make bench                    everything
//	make bench CASE=health        the cases whose names match; benchstat reads the output
//	make bench-guard              the key ratios, short, against floors.toml
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/pedro-go/pedro/bench/cases"
	"github.com/pedro-go/pedro/bench/harness"
	"github.com/pedro-go/pedro/bench/plots"
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
	pattern := flag.String("case", "", "a regular expression for the cases' names, or for names and parameters as in \"cache/get, 16 callers\"; empty means all")
	rounds := flag.Int("rounds", 5, "how many rounds")
	slice := flag.Duration("slice", 150*time.Millisecond, "how long a stack works in a round")
	dir := flag.String("out", "", "the directory for benchmarks.md, benchmarks.txt and plots; empty prints the tables")
	floors := flag.String("floors", "floors.toml", "the goals and floors")
	guard := flag.Bool("guard", false, "run what has a floor, and fail below it")
	redraw := flag.Bool("redraw", false, "draw the plots again, from -out/benchmarks.txt, and measure nothing")
	flag.Parse()
	if *redraw {
		return plots.Draw(*dir)
	}
	match, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("-case: %w", err)
	}
	goals, err := harness.ReadGoals(*floors)
	if err != nil {
		return err
	}
	o := harness.Options{Rounds: *rounds, Slice: *slice, Warmup: *slice, Log: progress()}
	servers := &cases.Servers{}
	defer servers.Close()
	list := servers.All()
	if *guard {
		list = goals.Guarded(list)
	} else {
		o.Promised = goals.Promised
	}
	before := load()
	tables, interrupted := measure(ctx, list, match, o)
	if len(tables) == 0 {
		return errors.Join(interrupted, errors.New("nothing was measured"))
	}
	o.Log("")
	if *guard {
		if interrupted != nil {
			return interrupted
		}
		return enforce(ctx, goals, list, tables, o)
	}
	var report strings.Builder
	preamble(&report, o, before)
	goals.Write(&report, tables)
	harness.Markdown(&report, tables)
	if match.MatchString("health") && interrupted == nil {
		faults(ctx, &report)
	}
	if *dir == "" {
		fmt.Print(report.String(), "\n## For benchstat\n\n")
		harness.Benchfmt(os.Stdout, tables)
		return interrupted
	}
	return errors.Join(interrupted, write(*dir, report.String(), tables), plots.Draw(*dir))
}

// moreRounds is how many times as many rounds a ratio gets that is below its
// floor.
const moreRounds = 3

// enforce fails if something is below its floor. What seems to be is measured
// for longer first: the median that counts is over all rounds, the first ones
// included, so that this is no second try.
func enforce(ctx context.Context, goals harness.Goals, list []harness.Case, tables []harness.Table, o harness.Options) error {
	below := goals.Below(tables)
	if again := harness.Again(below, tables, list); len(again) > 0 {
		for _, s := range below {
			fmt.Printf("%s; measured for longer\n", s.Why)
		}
		o.Rounds *= moreRounds
		more, err := measure(ctx, again, regexp.MustCompile(""), o)
		if err != nil {
			return err
		}
		o.Log("")
		harness.Merge(tables, more)
		below = goals.Below(tables)
	}
	goals.Write(os.Stdout, tables)
	if len(below) == 0 {
		return nil
	}
	failures := make([]error, 0, len(below))
	for _, s := range below {
		failures = append(failures, errors.New(s.Why))
	}
	return fmt.Errorf("below the floor:\n%w", errors.Join(failures...))
}

// progress shows what is at work on a terminal, and nothing anywhere else.
func progress() func(format string, args ...any) {
	info, err := os.Stderr.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func(string, ...any) {}
	}
	return func(format string, args ...any) { fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...) }
}

// measure runs the cases. Interrupted, it returns what is complete so far.
func measure(ctx context.Context, list []harness.Case, match *regexp.Regexp, o harness.Options) ([]harness.Table, error) {
	var tables []harness.Table
	for _, c := range list {
		if c = matching(c, match); len(c.Params) == 0 {
			continue
		}
		t, err := harness.Run(ctx, c, o)
		tables = append(tables, t...)
		if err != nil {
			return tables, err
		}
	}
	return tables, nil
}

// matching cuts a case down to the parameters that are wanted: all of them if
// the name matches, else those with which it does.
func matching(c harness.Case, match *regexp.Regexp) harness.Case {
	if !match.MatchString(c.Name) {
		c.Params = slices.DeleteFunc(slices.Clone(c.Params), func(p harness.Params) bool {
			return !match.MatchString(c.Name + ", " + p.String())
		})
	}
	return c
}

func write(dir, report string, tables []harness.Table) error {
	var raw strings.Builder
	harness.Benchfmt(&raw, tables)
	if err := os.WriteFile(filepath.Join(dir, "benchmarks.txt"), []byte(raw.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "benchmarks.md"), []byte(report), 0o644)
}

// load is how busy the machine is: the load averages, where there are any.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if fields := strings.Fields(string(b)); err == nil && len(fields) > 3 {
		return "load " + strings.Join(fields[:3], " ")
	}
	return "load unknown"
}

// preamble says what was measured with.
func preamble(b *strings.Builder, o harness.Options, before string) {
	fmt.Fprintf(b, `# Benchmarks

Made by `+"`make bench`"+`: %d rounds, in which the stacks of a case take turns in slices of %v, in an order of chance. The ratio is to the first row,
within each round; what is quoted is the median, with the least and the most. Where a ratio is promised there are twice as many rounds. Where which processor
a connection is put on would decide (reads and transactions), there are six times as many, a third as long, and after every three all stacks get new connections. With one caller these
are nine times as many, of ten parts of 25 calls that alternate with those of the other stacks, the servers have one processor and the stack the other, and
the rate is that of the fastest nine tenths of the calls, which leaves out who else runs there. Every answer is checked. On a machine that
others use too, absolute rates mean little; ratios hold. Servers and clients share the processors. Latency is what a proxy
adds to a round trip at least: timers make it somewhat more. Commands inside a Redis script are counted too.

%s on %s/%s with %d processors, %s; %s before, %s after. A load above the number of processors means that others
were at work too.

| Module | Version |
|---|---|
`, o.Rounds, o.Slice, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly), before, load())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if peers.MatchString(d.Path) {
				fmt.Fprintf(b, "| %s | %s |\n", d.Path, d.Version)
			}
		}
	}
}

// peers are the modules whose versions the report names.
var peers = regexp.MustCompile(`health|k8s\.io/apiserver|oklog/run|uber\.org/fx|go-redis|rueidis|otter|pgx|lib/pq|sqlx|bun$|scs|sessions|redisstore`)

func faults(ctx context.Context, b *strings.Builder) {
	b.WriteString("\n## health/faults\n\nFour probes, one after the other, while one check misbehaves.\n\n| | fault | answers | slowest | runs of the checks |\n|---|---|---|--:|--:|\n")
	for _, f := range cases.HealthFaults(ctx) {
		fmt.Fprintf(b, "| %s | %s | %s | %v | %d |\n", f.Stack, f.Fault, f.Answer, f.Slowest.Round(100*time.Microsecond), f.Runs)
	}
}
