package pedro_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pedro-go/pedro"

// links lists, for each package that users import, the modules that may be
// linked into their programs with it, and the packages of this module. What is
// not here is a decision to be made first: see CONTRIBUTING.md.
var links = map[string]struct{ modules, packages []string }{
	"lifecycle": {
		modules:  []string{"github.com/kelseyhightower/envconfig"},
		packages: []string{"internal/backoff", "internal/env"},
	},
	"health": {
		modules:  []string{"github.com/kelseyhightower/envconfig"},
		packages: []string{"internal/env"},
	},
	"pgpool": {
		modules: []string{
			"github.com/kelseyhightower/envconfig", "github.com/jackc/pgx/v5", "github.com/jackc/puddle/v2", "github.com/jackc/pgpassfile",
			"github.com/jackc/pgservicefile", "golang.org/x/sync", "golang.org/x/text",
		},
		packages: []string{"internal/backoff", "internal/busypoll", "internal/env", "internal/histogram"},
	},
	"rediscache": {
		modules: []string{
			"github.com/kelseyhightower/envconfig", "github.com/redis/go-redis/v9", "github.com/cespare/xxhash/v2", "go.uber.org/atomic",
			"github.com/maypok86/otter/v2", "github.com/klauspost/compress", "golang.org/x/sys",
		},
		packages: []string{"internal/backoff", "internal/batches", "internal/busypoll", "internal/env", "internal/histogram", "internal/workers"},
	},
	"session": {
		modules: []string{
			"github.com/kelseyhightower/envconfig", "github.com/redis/go-redis/v9", "github.com/cespare/xxhash/v2", "go.uber.org/atomic",
			"github.com/gorilla/sessions", "github.com/gorilla/securecookie", "github.com/rbcervilla/redisstore/v9", "golang.org/x/sys",
		},
		packages: []string{"internal/backoff", "internal/batches", "internal/env", "internal/histogram", "internal/workers"},
	},
	"devservices": {packages: []string{"internal/filelock", "internal/ports"}},
}

// TestLinks shows that no package imports a sibling, that nothing heavy or for
// tests comes along, and that devservices needs the standard library only.
func TestLinks(t *testing.T) {
	t.Parallel()
	for pkg, allowed := range links {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			const format = "{{if not .Standard}}{{.ImportPath}} {{.Module.Path}}{{end}}"
			for _, line := range goList(t, "-deps", "-f", format, "./"+pkg) {
				path, mod, _ := strings.Cut(line, " ")
				if mod != module {
					if !slices.Contains(allowed.modules, mod) {
						t.Errorf("%s links %s, of a module that is not in the list", pkg, path)
					}
					continue
				}
				inside := strings.TrimPrefix(path, module+"/")
				if inside != pkg && !slices.Contains(allowed.packages, inside) {
					t.Errorf("%s imports %s, which is not in the list", pkg, inside)
				}
			}
		})
	}
}

// TestNoTestCodeInProduction keeps the flags of package testing, and the like,
// out of users' programs, and html/template, with which the linker keeps all
// methods of all types.
func TestNoTestCodeInProduction(t *testing.T) {
	t.Parallel()
	for _, pkg := range []string{"lifecycle", "health", "pgpool", "rediscache", "session"} {
		for _, path := range goList(t, "-deps", "./"+pkg) {
			if path == "testing" || path == "os/exec" || path == "html/template" || strings.HasPrefix(path, "go.opentelemetry.io/") || strings.HasPrefix(path, "github.com/prometheus/") {
				t.Errorf("%s links %s", pkg, path)
			}
		}
	}
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}
