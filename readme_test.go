package pedro_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

var update = flag.Bool("update", false, "write what is generated into the documents instead of comparing it")

// TestReadmeProgram keeps the README's program the one that is compiled.
func TestReadmeProgram(t *testing.T) {
	source, err := os.ReadFile("examples/quickstart/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, program, ok := strings.Cut(string(source), "func run(")
	if !ok {
		t.Fatal("no function run in the quickstart")
	}
	generated(t, "README.md", "program", "```go\nfunc run("+program+"```\n")
}

// TestReadmeVariables keeps the table of variables that of the code: names from
// the tags, meanings from the comments, defaults from what New makes of nothing.
func TestReadmeVariables(t *testing.T) {
	pool, err := pgpool.New(pgpool.Config{URL: "postgres://localhost/x"})
	if err != nil {
		t.Fatal(err)
	}
	cache, err := rediscache.New(rediscache.Config{})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := session.New(nil, session.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []interface {
		Stop(ctx context.Context) error
	}{pool, cache, sessions} {
		if err := c.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	var b strings.Builder
	b.WriteString("| Variable | Default | Meaning |\n|---|---|---|\n")
	seen := map[string]bool{}
	for _, p := range []struct {
		dir    string
		config any
	}{{"pgpool", pool.Config()}, {"rediscache", cache.Config()}, {"session", sessions.Config()}} {
		comments := fieldComments(t, p.dir)
		v := reflect.ValueOf(p.config)
		for i := range v.NumField() {
			field := v.Type().Field(i)
			name := field.Tag.Get("envconfig")
			if name == "" || name == "-" || seen[name] {
				continue
			}
			seen[name] = true
			meaning := firstSentence(comments[field.Name])
			if meaning == "" {
				t.Errorf("%s.Config.%s, the variable %s, has no comment", p.dir, field.Name, name)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, shownDefault(field, v.Field(i)), meaning)
		}
	}
	b.WriteString("| `APP_ENV` |  | production demands a strong SESSION_SECRET and makes cookies for HTTPS only. |\n")
	generated(t, "README.md", "variables", b.String())
}

// shownDefault is a field's effective value, as one would write it.
func shownDefault(field reflect.StructField, v reflect.Value) string {
	if v.IsZero() || field.Tag.Get("secret") != "" {
		return ""
	}
	if d, ok := reflect.TypeAssert[time.Duration](v); ok {
		s := d.String()
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		return "`" + s + "`"
	}
	return fmt.Sprintf("`%v`", v.Interface())
}

// fieldComments returns the comments of a package's Config by field; fields
// that stand together share theirs.
func fieldComments(t *testing.T, dir string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, "config.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Config" {
			return true
		}
		var last string
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			last = cmp.Or(field.Doc.Text(), field.Comment.Text(), last)
			for _, name := range field.Names {
				comments[name.Name] = last
			}
		}
		return false
	})
	return comments
}

var link = regexp.MustCompile(`\[(\w+(?:\.\w+)*)\]`)

// firstSentence returns what a table has room for.
func firstSentence(comment string) string {
	text := strings.Join(strings.Fields(comment), " ")
	if i := strings.Index(text, ". "); i >= 0 {
		text = text[:i+1]
	}
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(link.ReplaceAllString(text, "`$1`"))
}

// generated compares what stands between the marks of that name with want, or
// writes it there with -update.
func generated(t *testing.T, file, name, want string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+": made by go test -run Readme -update . -->\n", "<!-- /"+name+" -->"
	before, rest, ok1 := strings.Cut(string(data), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s lacks the marks of %s", file, name)
	}
	if got == want {
		return
	}
	if !*update {
		t.Errorf("%s: %s is not that of the code; run go test -run Readme -update .", file, name)
		return
	}
	if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
