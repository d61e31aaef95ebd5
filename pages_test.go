package pedro_test

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

// pageFiles are the pages for people, relative to the root.
func pageFiles(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "artifacts" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && name != "." && name != ".github"):
			return fs.SkipDir
		case strings.HasSuffix(name, ".md") || name == "llms.txt":
			found = append(found, name)
		}
		return nil
	})
	if err != nil || len(found) < 15 {
		t.Fatalf("only %q, %v", found, err)
	}
	return found
}

var fence = regexp.MustCompile("(?ms)^(?:<!-- code: ([^\n]+) -->\n)?```(\\w*)\n(.*?)^```$") //nolint:gocritic // (?m): ^ begins a line

// TestDocsCode: a block of code after a mark such as
//
//	<!-- code: examples/migration/scs/after.go NewAfter After -->
//
// is those declarations of that file, which is compiled and tested where it is;
// in other languages, the lines between "begin name" and "end name". Any other
// block of Go compiles here. With -update, marked blocks are written.
func TestDocsCode(t *testing.T) {
	t.Parallel()
	for _, name := range pageFiles(t) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		page := string(data)
		updated := fence.ReplaceAllStringFunc(page, func(block string) string {
			parts := fence.FindStringSubmatch(block)
			mark, language, code := parts[1], parts[2], parts[3]
			if mark == "" {
				if language == "go" && name != "README.md" { // whose program TestReadmeProgram knows
					compiles(t, name, code)
				}
				return block
			}
			want, err := excerpt(mark)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return block
			}
			if code != want && !*update {
				t.Errorf("%s: the code of %s is not that of the file; run go test -run Docs -update .", name, mark)
			}
			return fmt.Sprintf("<!-- code: %s -->\n```%s\n%s```", mark, language, want)
		})
		if updated != page && *update {
			if err := os.WriteFile(name, []byte(updated), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// excerpt returns what a mark names.
func excerpt(mark string) (string, error) {
	words := strings.Fields(mark)
	source, err := os.ReadFile(words[0])
	if err != nil {
		return "", err
	}
	var parts []string
	for _, name := range words[1:] {
		part, err := declaration(words[0], source, name)
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "\n"), nil
}

func declaration(file string, source []byte, name string) (string, error) {
	if !strings.HasSuffix(file, ".go") {
		_, rest, ok1 := strings.Cut(string(source), "begin "+name+"\n")
		part, _, ok2 := strings.Cut(rest, "end "+name+"\n")
		if !ok1 || !ok2 {
			return "", fmt.Errorf("%s has no lines between begin %s and end %s", file, name, name)
		}
		lines := strings.SplitAfter(part, "\n")
		lines = lines[:len(lines)-1] // the comment of the end mark
		indent := lines[0][:len(lines[0])-len(strings.TrimLeft(lines[0], " "))]
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], indent)
		}
		return strings.Join(lines, ""), nil
	}
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, source, parser.ParseComments)
	if err != nil {
		return "", err
	}
	for _, d := range parsed.Decls {
		var doc *ast.CommentGroup
		found := false
		switch d := d.(type) {
		case *ast.FuncDecl:
			doc = d.Doc
			full := d.Name.Name
			if d.Recv != nil {
				full = strings.TrimPrefix(types.ExprString(d.Recv.List[0].Type), "*") + "." + full
			}
			found = full == name
		case *ast.GenDecl:
			doc = d.Doc
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok && s.Name.Name == name {
					found = true
				}
			}
		}
		if found {
			begin := d.Pos()
			if doc != nil {
				begin = doc.Pos()
			}
			return string(source[fset.Position(begin).Offset:fset.Position(d.End()).Offset]) + "\n", nil
		}
	}
	return "", fmt.Errorf("%s declares no %s", file, name)
}

// prelude is what pages may take as given.
const prelude = `package page

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

var (
	ctx      context.Context
	cfg      struct{}
	dbCfg    pgpool.Config
	rdCfg    rediscache.Config
	snCfg    session.Config
	pool     *pgpool.Pool
	cache    *rediscache.Cache
	sessions *session.Manager
	checks   *health.Checker
	g        *lifecycle.Group
	mux      *http.ServeMux
	logger   *slog.Logger
	w        http.ResponseWriter
	r        *http.Request
	id       string
)
`

// compiles checks a block that stands for itself: statements or declarations,
// with the prelude before them, or a whole file. What is not used is allowed.
func compiles(t *testing.T, name, code string) {
	t.Helper()
	fset := token.NewFileSet()
	source := prelude + "\nfunc page() error {\n\tvar err error\n" + code + "\n}\n"
	switch {
	case strings.HasPrefix(code, "package "):
		source = code
	case strings.HasPrefix(code, "func ") || strings.Contains(code, "\nfunc "):
		source = prelude + code
	}
	file, err := parser.ParseFile(fset, name, source, 0)
	if err != nil {
		t.Errorf("%s: %v, in\n%s", name, err, code)
		return
	}
	if strings.Contains(code, "telemetry") {
		return // of another module: see its internal/host
	}
	var problems []error
	checker := types.Config{Importer: importer.ForCompiler(fset, "gc", exports(t)), Error: func(err error) {
		for _, allowed := range []string{"declared and not used", "imported", "missing return"} {
			if strings.Contains(err.Error(), allowed) {
				return
			}
		}
		problems = append(problems, err)
	}}
	_, _ = checker.Check("page", fset, []*ast.File{file}, nil)
	for _, err := range problems {
		t.Errorf("%s: %v, in\n%s", name, err, code)
	}
}

// exports finds what the compiler knows of a package.
func exports(t *testing.T) importer.Lookup {
	t.Helper()
	files := map[string]string{}
	for _, line := range goList(t, "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "./pgpool", "./rediscache", "./session", "./health", "./lifecycle", "./devservices", "database/sql", "strings") {
		path, file, _ := strings.Cut(line, " ")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
}

var (
	linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"`)
	headline   = regexp.MustCompile("(?m)^#+ +(.+)$")
	notInName  = regexp.MustCompile(`[^\p{L}\p{N}\-_ ]`)
	codeSpan   = regexp.MustCompile("(?s)\n```.*?\n```|`[^`\n]+`")
)

// TestDocsLinks: every relative link leads to a file, and every anchor to a
// headline.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	for _, name := range pageFiles(t) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range linkTarget.FindAllStringSubmatch(codeSpan.ReplaceAllString(string(data), ""), -1) {
			target, err := url.Parse(cmp.Or(m[1], m[2]))
			if err != nil || target.Scheme != "" {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			to := name
			if target.Path != "" {
				to = filepath.Join(filepath.Dir(name), target.Path)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which is not there", name, target)
				continue
			}
			if target.Fragment != "" && !slices.Contains(anchors(t, to), target.Fragment) {
				t.Errorf("%s links to %s: %s has no such headline, only %q", name, target, to, anchors(t, to))
			}
		}
	}
}

// anchors are the names that GitHub gives to headlines.
func anchors(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range headline.FindAllStringSubmatch(string(data), -1) {
		text := strings.ToLower(notInName.ReplaceAllString(m[1], ""))
		names = append(names, strings.ReplaceAll(strings.TrimSpace(text), " ", "-"))
	}
	return names
}

// TestDocsSymptoms: what the page on troubles calls an error's text is in the
// code. A headline in backquotes is such a text; … stands for what varies.
func TestDocsSymptoms(t *testing.T) {
	t.Parallel()
	var literals []string
	for _, pkg := range []string{"pgpool", "rediscache", "session", "health", "lifecycle", "devservices", "internal/env"} {
		files, err := filepath.Glob(filepath.Join(pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil {
						literals = append(literals, text)
					}
				}
				return true
			})
		}
	}
	page, err := os.ReadFile("docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	symptoms := regexp.MustCompile("(?m)^### (`.*)$").FindAllStringSubmatch(string(page), -1)
	if len(symptoms) < 10 {
		t.Errorf("only %d symptoms", len(symptoms))
	}
	for _, m := range symptoms {
		for _, span := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(m[1], -1) {
			for part := range strings.SplitSeq(span[1], "…") {
				part = strings.Trim(part, " ")
				if part != "" && !slices.ContainsFunc(literals, func(l string) bool { return strings.Contains(l, part) }) {
					t.Errorf("no text in the code has %q", part)
				}
			}
		}
	}
}

// TestReadmeConfiguration keeps the reference of settings that of the code.
func TestReadmeConfiguration(t *testing.T) {
	pool, err1 := pgpool.New(pgpool.Config{URL: "postgres://localhost/x"})
	cache, err2 := rediscache.New(rediscache.Config{})
	sessions, err3 := session.New(nil, session.Config{})
	checks, err4 := health.New(health.Config{})
	group, err5 := lifecycle.New(lifecycle.Config{})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	for _, c := range []lifecycle.Component{pool, cache, sessions} {
		if err := c.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	var b strings.Builder
	for _, p := range []struct {
		dir    string
		config any
	}{{"pgpool", pool.Config()}, {"rediscache", cache.Config()}, {"session", sessions.Config()}, {"health", checks.Config()}, {"lifecycle", group.Config()}} {
		comments := fieldComments(t, p.dir)
		v := reflect.ValueOf(p.config)
		fmt.Fprintf(&b, "\n## %s\n\n| Variable | Field | Type | Default | Meaning |\n|---|---|---|---|---|\n", p.dir)
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if !field.IsExported() {
				continue
			}
			variable := field.Tag.Get("envconfig")
			if variable == "-" {
				variable = ""
			}
			if variable != "" {
				variable = "`" + variable + "`"
			}
			if p.dir == "session" && field.Name == "Production" {
				variable = "`APP_ENV=production`"
			}
			shown, comment := shownDefault(field, v.Field(i)), strings.Join(strings.Fields(comments[field.Name]), " ")
			if p.dir == "session" && field.Name == "Secrets" {
				shown = ""
			}
			if field.Tag.Get("secret") == "true" {
				comment += " Secret: never shown."
			}
			if comment == "" {
				t.Errorf("%s.Config.%s has no comment", p.dir, field.Name)
			}
			comment = strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(link.ReplaceAllString(comment, "`$1`"))
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", variable, field.Name, strings.TrimPrefix(field.Type.String(), p.dir+"."), shown, comment)
		}
	}
	generated(t, "docs/configuration.md", "configuration", b.String()+"\n")
}
