package pedro_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// exampleless are methods that print, wrap or encode: nobody looks for an
// example of them.
var exampleless = map[string]bool{
	"String": true, "GoString": true, "LogValue": true, "MarshalJSON": true, "MarshalText": true, "Error": true, "Unwrap": true,
}

// TestExamples: each function and method of the five packages is used in an
// example, and so is what starts a server of devservices.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, pkg := range []string{"pgpool", "rediscache", "session", "health", "lifecycle", "devservices"} {
		exported, shown := entryPoints(t, pkg)
		if len(exported) < 20 {
			t.Errorf("%s: found %d entry points: is it the right directory?", pkg, len(exported))
		}
		for name, full := range exported {
			if pkg == "devservices" && !strings.HasPrefix(name, "Start") && !strings.HasPrefix(name, "New") {
				continue
			}
			if !shown[name] && !exampleless[name] {
				t.Errorf("%s.%s is in no example", pkg, full)
			}
		}
	}
}

// entryPoints returns the exported functions and methods of a package, and every
// name that its examples mention.
func entryPoints(t *testing.T, pkg string) (exported map[string]string, shown map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pkg, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	exported, shown = map[string]string{}, map[string]bool{}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		isTest := strings.HasSuffix(file, "_test.go")
		for _, decl := range tree.Decls {
			f, ok := decl.(*ast.FuncDecl)
			switch {
			case !ok:
			case !isTest && f.Name.IsExported():
				if full, ok := fullName(f); ok {
					exported[f.Name.Name] = full
				}
			case isTest && strings.HasPrefix(f.Name.Name, "Example"):
				ast.Inspect(f, func(n ast.Node) bool {
					if id, ok := n.(*ast.Ident); ok {
						shown[id.Name] = true
					}
					return true
				})
			}
		}
	}
	return exported, shown
}

// fullName is Type.Method or Function; false for methods of types that are not
// exported.
func fullName(f *ast.FuncDecl) (string, bool) {
	if f.Recv == nil {
		return f.Name.Name, true
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if generic, ok := of.(*ast.IndexExpr); ok {
		of = generic.X
	}
	name, ok := of.(*ast.Ident)
	return name.String() + "." + f.Name.Name, ok && name.IsExported()
}
