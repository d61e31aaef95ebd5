package telemetry_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
	"github.com/pedro-go/pedro/telemetry/internal/host"
)

var update = flag.Bool("update", false, "write the table of metrics into docs/telemetry.md instead of comparing it")

func histogram(t *testing.T, all map[string]metricdata.Metrics, name string) []metricdata.HistogramDataPoint[float64] {
	t.Helper()
	h, is := all[name].Data.(metricdata.Histogram[float64])
	if !is {
		t.Fatalf("%s: got %T, want a histogram", name, all[name].Data)
	}
	return h.DataPoints
}

// number is the value of the series with these attributes, key and value in
// turn.
func number(t *testing.T, all map[string]metricdata.Metrics, name string, attrs ...string) float64 {
	t.Helper()
	matches := func(set attribute.Set) bool {
		for i := 0; i+1 < len(attrs); i += 2 {
			if v, _ := set.Value(attribute.Key(attrs[i])); v.String() != attrs[i+1] {
				return false
			}
		}
		return true
	}
	switch data := all[name].Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			if matches(p.Attributes) {
				return float64(p.Value)
			}
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			if matches(p.Attributes) {
				return p.Value
			}
		}
	}
	t.Errorf("%s: no series with %q in %+v", name, attrs, all[name].Data)
	return -1
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	r := start(t, host.Config{})
	for range 3 {
		r.do(t, http.MethodGet, "/slots/1")
	}
	r.do(t, http.MethodPost, "/slots/2/book")
	r.do(t, http.MethodPost, "/login")
	r.do(t, http.MethodGet, "/visits")
	r.do(t, http.MethodGet, "/visits", "Cookie", "pedro.sid=forged")
	r.do(t, http.MethodPost, "/logout")
	r.doAs(t, "canary.example.org:4711")
	all := r.collect(t)
	for _, c := range []struct {
		name  string
		attrs []string
		want  float64
	}{
		{"db.client.connection.max", []string{"db.client.connection.pool.name", "primary"}, float64(pgpool.DefaultMaxConns)},
		{"db.client.connection.count", []string{"db.client.connection.pool.name", "primary", "db.client.connection.state", "used"}, 0},
		{"pedro.db.transactions", []string{"pedro.outcome", "committed"}, 1},
		{"pedro.db.node.healthy", []string{"db.client.connection.pool.name", "primary"}, 1},
		{"pedro.cache.lookups", []string{"pedro.cache.namespace", "slot", "pedro.outcome", "miss"}, 1},
		{"pedro.cache.loads", []string{"pedro.cache.namespace", "slot", "pedro.outcome", "ok"}, 1},
		{"pedro.cache.status", []string{"pedro.state", "up"}, 1},
		{"pedro.cache.status", []string{"pedro.state", "down"}, 0},
		{"pedro.session.events", []string{"pedro.event", "login"}, 1},
		{"pedro.session.events", []string{"pedro.event", "destroyed"}, 1},
		{"pedro.session.fallback.duration", nil, 0},
		{"pedro.health.status", []string{"pedro.health.check", "postgres", "pedro.state", "pass"}, 1},
		{"pedro.health.status", []string{"pedro.health.check", "redis", "pedro.state", "fail"}, 0},
		{"pedro.health.ready", nil, 1},
		{"pedro.lifecycle.status", []string{"pedro.state", "running"}, 1},
		{"pedro.lifecycle.component.status", []string{"pedro.lifecycle.component", "redis", "pedro.state", "running"}, 1},
	} {
		if got := number(t, all, c.name, c.attrs...); got != c.want {
			t.Errorf("%s %q: got %v, want %v", c.name, c.attrs, got, c.want)
		}
	}
	hits := number(t, all, "pedro.cache.lookups", "pedro.cache.namespace", "slot", "pedro.outcome", "near") +
		number(t, all, "pedro.cache.lookups", "pedro.cache.namespace", "slot", "pedro.outcome", "redis")
	if hits != 2 { // which of them is a matter of when the invalidation stream stands
		t.Errorf("hits: got %v, want 2", hits)
	}
	requests := uint64(0)
	for _, p := range histogram(t, all, "http.server.request.duration") {
		if route, _ := p.Attributes.Value("http.route"); route.AsString() == "/slots/{id}" {
			requests += p.Count
		}
		if host, _ := p.Attributes.Value("server.address"); host.AsString() != "localhost" {
			t.Errorf("server.address: got %q, want the configured name and not the Host header", host.AsString())
		}
		if port, has := p.Attributes.Value("server.port"); has {
			t.Errorf("server.port: got %d of the Host header, want none", port.AsInt64())
		}
	}
	if requests != 3 {
		t.Errorf("requests to /slots/{id}: got %d, want 3", requests)
	}
}

// TestTable keeps the table in docs/telemetry.md that of a real host with a
// replica.
func TestTable(t *testing.T) {
	t.Parallel()
	pg := pgpooltest.StartServer(t)
	replica := pgpooltest.StartReplica(t, pg)
	r := start(t, host.Config{DB: pgpool.Config{URL: pg.URL(), ReplicaURLs: []string{replica.URL()}}})
	r.do(t, http.MethodGet, "/slots/1")
	r.do(t, http.MethodPost, "/login")
	r.do(t, http.MethodGet, "/fail")
	r.do(t, http.MethodGet, "/sleep/x")
	r.await(t, "GET /sleep/{seconds}")
	_ = r.Cache.Redis().Do(t.Context(), "nonsense").Err()
	all := r.collect(t)
	for deadline := time.Now().Add(10 * time.Second); all["pedro.cache.redis.memory.used"].Data == nil && time.Now().Before(deadline); {
		all = r.collect(t) // the cache looks at Redis' memory in the background
	}

	var table strings.Builder
	table.WriteString("| Metric | Unit | Kind | Attributes | Meaning |\n|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		kind, attrs := describe(m.Data)
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s |\n", name, strings.Trim(m.Unit, "{}"), kind, attrs, strings.TrimSuffix(m.Description, "."))
	}
	inDocument(t, "metrics", table.String())
}

// TestWiring keeps the program in docs/telemetry.md that of Example.
func TestWiring(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, program, found := strings.Cut(string(source), "	run := ")
	program, _, ended := strings.Cut(program, "\n	}\n	_ = run")
	if !found || !ended {
		t.Fatal("example_test.go has no function run")
	}
	program = strings.ReplaceAll(strings.Replace(program, "func(", "func run(", 1), "\n	", "\n") + "\n}\n"
	inDocument(t, "program", "```go\n"+program+"```\n")
}

// inDocument compares what is between two comments of docs/telemetry.md, or
// writes it there.
func inDocument(t *testing.T, name, want string) {
	t.Helper()
	documentMu.Lock()
	defer documentMu.Unlock()
	const file = "../docs/telemetry.md"
	begin, end := "<!-- "+name+": made by go test -run 'Table|Wiring' -update . in telemetry -->\n", "<!-- /"+name+" -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	have, after, ended := strings.Cut(rest, end)
	switch {
	case !found || !ended:
		t.Fatalf("%s has no place for %s", file, name)
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
	case have != want:
		t.Errorf("%s of %s is out of date (-update): got\n%s\nwant\n%s", name, file, have, want)
	}
}

var documentMu sync.Mutex // two tests write the document with -update

// describe returns the kind of a metric, and the names of its attributes.
func describe(data metricdata.Aggregation) (kind, attrs string) {
	names := map[string]bool{}
	note := func(set attribute.Set) {
		for _, kv := range set.ToSlice() {
			names["`"+string(kv.Key)+"`"] = true
		}
	}
	switch d := data.(type) {
	case metricdata.Histogram[float64]:
		kind = "histogram"
		for _, p := range d.DataPoints {
			note(p.Attributes)
		}
	case metricdata.Histogram[int64]:
		kind = "histogram"
		for _, p := range d.DataPoints {
			note(p.Attributes)
		}
	case metricdata.Gauge[float64]:
		kind = "gauge"
		for _, p := range d.DataPoints {
			note(p.Attributes)
		}
	case metricdata.Sum[int64]:
		kind = map[bool]string{true: "counter", false: "up-down"}[d.IsMonotonic]
		for _, p := range d.DataPoints {
			note(p.Attributes)
		}
	default:
		kind = fmt.Sprintf("%T", data)
	}
	return kind, strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}
