// Command docsite renders the documents as HTML, to be looked at in a browser:
//
//	go run . -root ../.. -out ../../artifacts/docs
//
// It is make docs. The pages have no script and no asset from elsewhere, and
// follow the reader's choice of light or dark.
package main

import (
	"bytes"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	chroma "github.com/alecthomas/chroma/v2/formatters/html"
	"github.com/alecthomas/chroma/v2/styles"
	"github.com/yuin/goldmark"
	highlighting "github.com/yuin/goldmark-highlighting/v2"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
)

//go:embed page.css
var css string

//go:embed page.html.tmpl
var layout string

// first are the pages in front of the list, in this order.
var first = []string{
	"README.md", "docs/concepts.md", "docs/configuration.md", "docs/operations.md", "docs/troubleshooting.md", "docs/telemetry.md",
	"docs/migrate/from-node.md", "docs/migrate/from-pgxpool.md", "docs/migrate/from-go-redis.md", "docs/migrate/from-scs.md",
	"docs/migrate/from-gorilla-redisstore.md", "docs/migrate/from-fx.md",
}

func main() {
	root := flag.String("root", ".", "the repository")
	out := flag.String("out", "artifacts/docs", "where the pages go")
	flag.Parse()
	n, err := build(*root, *out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "docsite:", err)
		os.Exit(1)
	}
	fmt.Printf("%d pages; open %s\n", n, filepath.Join(*out, "index.html"))
}

// A page is one document.
type page struct {
	Source string // its file, relative to the repository
	Path   string // of the HTML, relative to the output
	Title  string
	body   ast.Node
	data   []byte
}

// build writes the pages and returns how many they are.
func build(root, out string) (int, error) {
	sources, err := documents(root)
	if err != nil {
		return 0, err
	}
	markdown := goldmark.New(
		goldmark.WithExtensions(extension.GFM, highlighting.NewHighlighting(
			highlighting.WithFormatOptions(chroma.WithClasses(true)),
		)),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()),
		goldmark.WithRendererOptions(html.WithUnsafe()), // the documents are ours
	)
	var pages []*page
	for _, source := range sources {
		data, err := os.ReadFile(filepath.Join(root, source))
		if err != nil {
			return 0, err
		}
		p := &page{Source: source, Path: target(source), data: data, Title: source}
		p.body = markdown.Parser().Parse(text.NewReader(data), parser.WithContext(parser.NewContext(parser.WithIDs(&names{seen: map[string]bool{}}))))
		if h, ok := p.body.FirstChild().(*ast.Heading); ok {
			p.Title = string(h.Lines().Value(data))
		}
		pages = append(pages, p)
	}
	style, err := stylesheet()
	if err != nil {
		return 0, err
	}
	tmpl, err := template.New("page").Parse(layout)
	if err != nil {
		return 0, err
	}
	for _, p := range pages {
		if err := p.relink(root, out, pages); err != nil {
			return 0, err
		}
		var body bytes.Buffer
		if err := markdown.Renderer().Render(&body, p.data, p.body); err != nil {
			return 0, err
		}
		html, err := p.relinkHTML(root, out, body.String(), pages)
		if err != nil {
			return 0, err
		}
		file := filepath.Join(out, filepath.FromSlash(p.Path))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return 0, err
		}
		var links []link
		for _, other := range pages {
			links = append(links, link{relative(p.Path, other.Path), other.Title, other == p})
		}
		var rendered bytes.Buffer
		err = tmpl.Execute(&rendered, map[string]any{
			"Title": p.Title, "Style": template.CSS(style), "Links": links, "Body": template.HTML(html),
		})
		if err != nil {
			return 0, err
		}
		if err := os.WriteFile(file, rendered.Bytes(), 0o644); err != nil {
			return 0, err
		}
	}
	return len(pages), nil
}

type link struct {
	To, Title string
	Here      bool
}

// documents are the files to render, relative to root.
func documents(root string) ([]string, error) {
	found := []string{"README.md"}
	for _, name := range []string{"CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"} {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			found = append(found, name)
		}
	}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(name, ".md") {
			rel, err := filepath.Rel(root, name)
			found = append(found, filepath.ToSlash(rel))
			return err
		}
		return err
	})
	slices.SortStableFunc(found, func(a, b string) int { return rank(a) - rank(b) })
	return found, err
}

func rank(source string) int {
	if i := slices.Index(first, source); i >= 0 {
		return i
	}
	return len(first)
}

// target is where the page of a document goes.
func target(source string) string {
	if source == "README.md" {
		return "index.html"
	}
	return strings.TrimSuffix(strings.TrimPrefix(source, "docs/"), ".md") + ".html"
}

// relink has links between documents lead to their pages, and all others to the
// files of the repository.
func (p *page) relink(root, out string, pages []*page) error {
	return ast.Walk(p.body, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		var err error
		switch n := n.(type) {
		case *ast.Link:
			n.Destination, err = p.resolve(root, out, string(n.Destination), pages)
		case *ast.Image:
			n.Destination, err = p.resolve(root, out, string(n.Destination), pages)
		}
		return ast.WalkContinue, err
	})
}

var picture = regexp.MustCompile(`(src|srcset)="([^"]+)"`)

// relinkHTML does the same for pictures that are written as HTML.
func (p *page) relinkHTML(root, out, body string, pages []*page) (string, error) {
	var failed error
	body = picture.ReplaceAllStringFunc(body, func(found string) string {
		m := picture.FindStringSubmatch(found)
		if strings.HasPrefix(m[2], "../") { // relinked already
			return found
		}
		to, err := p.resolve(root, out, m[2], pages)
		failed = errors.Join(failed, err)
		return fmt.Sprintf("%s=%q", m[1], to)
	})
	return body, failed
}

func (p *page) resolve(root, out, to string, pages []*page) ([]byte, error) {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Path == "" {
		return []byte(to), err
	}
	source := path.Join(path.Dir(p.Source), u.Path)
	for _, other := range pages {
		if other.Source == source || other.Source == source+"/README.md" {
			u.Path = relative(p.Path, other.Path)
			return []byte(u.String()), nil
		}
	}
	base, err := filepath.Abs(filepath.Join(out, filepath.Dir(p.Path)))
	if err != nil {
		return nil, err
	}
	file, err := filepath.Abs(filepath.Join(root, source))
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(base, file)
	u.Path = filepath.ToSlash(rel)
	return []byte(u.String()), err
}

// relative is the way from one page to another.
func relative(from, to string) string {
	return strings.Repeat("../", strings.Count(from, "/")) + to
}

// stylesheet is page.css and the colours of code, in light and dark.
func stylesheet() (string, error) {
	var b strings.Builder
	b.WriteString(css)
	formatter := chroma.New(chroma.WithClasses(true))
	for query, name := range map[string]string{"light": "github", "dark": "github-dark"} {
		fmt.Fprintf(&b, "@media (prefers-color-scheme: %s) {\n", query)
		if err := formatter.WriteCSS(&b, styles.Get(name)); err != nil {
			return "", err
		}
		b.WriteString("}\n")
	}
	return b.String(), nil
}

// names gives headlines the anchors that GitHub gives them.
type names struct{ seen map[string]bool }

// Generate implements parser.IDs.
func (n *names) Generate(value []byte, _ ast.NodeKind) []byte {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(string(value))) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127:
			b.WriteRune(r)
		}
	}
	id := b.String()
	for i := 1; n.seen[id]; i++ {
		id = fmt.Sprintf("%s-%d", b.String(), i)
	}
	n.seen[id] = true
	return []byte(id)
}

// Put implements parser.IDs.
func (n *names) Put(value []byte) { n.seen[string(value)] = true }
