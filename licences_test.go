package pedro_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// licences are those of every module that the packages link, as SECURITY.md
// lists them. A new module, or one that changes its licence, is a decision.
var licences = map[string]string{
	"github.com/cespare/xxhash/v2":         "MIT",
	"github.com/gorilla/securecookie":      "BSD-3-Clause",
	"github.com/gorilla/sessions":          "BSD-3-Clause",
	"github.com/jackc/pgpassfile":          "MIT",
	"github.com/jackc/pgservicefile":       "MIT",
	"github.com/jackc/pgx/v5":              "MIT",
	"github.com/jackc/puddle/v2":           "MIT",
	"github.com/kelseyhightower/envconfig": "MIT",
	"github.com/klauspost/compress":        "BSD-3-Clause",
	"github.com/maypok86/otter/v2":         "Apache-2.0",
	"github.com/rbcervilla/redisstore/v9":  "MIT",
	"github.com/redis/go-redis/v9":         "BSD-2-Clause",
	"go.uber.org/atomic":                   "MIT",
	"golang.org/x/sync":                    "BSD-3-Clause",
	"golang.org/x/sys":                     "BSD-3-Clause",
	"golang.org/x/text":                    "BSD-3-Clause",
}

// library are the packages that users link.
var library = []string{"lifecycle", "health", "pgpool", "rediscache", "session", "devservices"}

func TestLicences(t *testing.T) {
	t.Parallel()
	policy, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-deps", "-f", "{{if not .Standard}}{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}{{end}}"}
	for _, pkg := range library {
		args = append(args, "./"+pkg)
	}
	lines := goList(t, args...)
	slices.Sort(lines)
	seen := map[string]bool{}
	for _, line := range slices.Compact(lines) {
		path, rest, _ := strings.Cut(line, " ")
		version, dir, _ := strings.Cut(rest, " ")
		seen[path] = true
		if got, want := licenceOf(t, dir), licences[path]; got != want {
			t.Errorf("%s %s: licence %q, want %q", path, version, got, want)
		}
		row := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(path) + "` \\| " + regexp.QuoteMeta(version) + " \\| " + licences[path] + " \\|")
		if !row.Match(policy) {
			t.Errorf("SECURITY.md has no row `%s` | %s | %s", path, version, licences[path])
		}
	}
	for path := range licences {
		if !seen[path] {
			t.Errorf("%s is not linked any more", path)
		}
	}
}

// licenceOf reads the licence of a module as it lies in the module cache.
func licenceOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "LICENSE*"))
	if err != nil || len(files) == 0 {
		return ""
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(data)), " ")
	switch {
	case strings.Contains(text, "Apache License Version 2.0") && !strings.Contains(text[:100], "Copyright"):
		return "Apache-2.0"
	case strings.Contains(text, "Permission is hereby granted, free of charge, to any person obtaining a copy"):
		if strings.HasPrefix(text, "Copyright (c) 2012 The Go Authors") {
			return "BSD-3-Clause" // klauspost/compress: its own, before those of what it took over
		}
		return "MIT"
	case strings.Contains(text, "Redistribution and use in source and binary forms") && strings.Contains(text, "Neither the name"):
		return "BSD-3-Clause"
	case strings.Contains(text, "Redistribution and use in source and binary forms"):
		return "BSD-2-Clause"
	default:
		return "unknown"
	}
}

// TestNoSideEffects: importing a package runs nothing, and nothing of it is C.
func TestNoSideEffects(t *testing.T) {
	t.Parallel()
	files := 0
	for _, dir := range append(library, "internal/env", "internal/backoff", "internal/histogram", "internal/filelock", "internal/ports") {
		list, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range list {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			files++
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, imported := range file.Imports {
				if imported.Path.Value == `"C"` {
					t.Errorf("%s imports %s", name, imported.Path.Value)
				}
			}
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s has a func init", name)
				}
			}
		}
	}
	if files < 100 {
		t.Errorf("looked at %d files", files)
	}
}
