package main

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	href = regexp.MustCompile(`(?:href|src)="([^"]+)"`)
	id   = regexp.MustCompile(` id="([^"]+)"`)
)

// TestBuild renders the documents of the repository and follows every link of
// every page.
func TestBuild(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	n, err := build("../..", out)
	if err != nil || n < 10 {
		t.Fatalf("%d pages, %v", n, err)
	}
	anchors, pages := map[string]bool{}, map[string]string{}
	err = filepath.WalkDir(out, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".html") {
			return err
		}
		data, err := os.ReadFile(name)
		pages[name] = string(data)
		for _, m := range id.FindAllStringSubmatch(string(data), -1) {
			anchors[name+"#"+m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range pages {
		for _, m := range href.FindAllStringSubmatch(page, -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if u.Scheme != "" {
				continue
			}
			to := name
			if u.Path != "" {
				to = filepath.Join(filepath.Dir(name), u.Path)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			} else if u.Fragment != "" && pages[to] != "" && !anchors[to+"#"+u.Fragment] {
				t.Errorf("%s links to %s, and there is no such headline", name, m[1])
			}
		}
		if strings.Contains(page, "<script") {
			t.Errorf("%s has a script", name)
		}
	}
}
