package pedro_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documents are those that say which test shows what.
var documents = []string{"docs/reliability.md", "docs/asvs.md", "SECURITY.md"}

var (
	namesTest = regexp.MustCompile(`\b(?:Test|Fuzz|Example)[A-Z]\w*`)
	runsTests = regexp.MustCompile("`([^`]*go test [^`]*)`")
	runFlag   = regexp.MustCompile(`-(?:run|fuzz) ('[^']*'|\S+)`)
	runsMake  = regexp.MustCompile("`make ([a-z-]+)")
)

// TestDocumentsNameTests: every test, fuzzer and command that a document names
// exists.
func TestDocumentsNameTests(t *testing.T) {
	t.Parallel()
	tests := allTests(t)
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range documents {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		named := namesTest.FindAllString(text, -1)
		for _, test := range named {
			if len(tests[test]) == 0 {
				t.Errorf("%s names %s, which does not exist", name, test)
			}
		}
		for _, m := range runsTests.FindAllStringSubmatch(text, -1) {
			checkCommand(t, name, strings.ReplaceAll(m[1], `\|`, "|"), tests)
		}
		for _, m := range runsMake.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s names make %s, which does not exist", name, m[1])
			}
		}
		if len(named) < 20 {
			t.Errorf("%s names %d tests: is it the right file?", name, len(named))
		}
	}
}

// checkCommand wants each alternative of -run to match a test of the package.
func checkCommand(t *testing.T, document, command string, tests map[string][]string) {
	t.Helper()
	fields := strings.Fields(command)
	dir := filepath.Clean(fields[len(fields)-1])
	run := runFlag.FindStringSubmatch(command)
	if run == nil {
		t.Errorf("%s: %q runs no test by name", document, command)
		return
	}
	for alternative := range strings.SplitSeq(strings.Trim(run[1], "'"), "|") {
		pattern, err := regexp.Compile(alternative)
		if err != nil {
			t.Errorf("%s: %q: %v", document, command, err)
			continue
		}
		found := false
		for test, dirs := range tests {
			for _, d := range dirs {
				found = found || d == dir && pattern.MatchString(test)
			}
		}
		if !found {
			t.Errorf("%s: %q: nothing in %s matches %s", document, command, dir, alternative)
		}
	}
}

// allTests returns the directories of each test, fuzzer and example.
func allTests(t *testing.T) map[string][]string {
	t.Helper()
	tests := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && namesTest.MatchString(f.Name.Name) {
				tests[f.Name.Name] = append(tests[f.Name.Name], filepath.Dir(path))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
