package devservices

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// product is a piece of software that provides server programs.
type product struct {
	name string
	// packages that hold it, by the system's installer
	apt, dnf, apk, brew string
}

var (
	redisProduct     = product{"Redis", "redis-server", "redis", "redis", "redis"}
	sentinelProduct  = product{"Redis Sentinel", "redis-sentinel", "redis", "redis", "redis"}
	postgresProduct  = product{"PostgreSQL", "postgresql", "postgresql-server postgresql-contrib", "postgresql", "postgresql@17"}
	pgbouncerProduct = product{"PgBouncer", "pgbouncer", "pgbouncer", "pgbouncer", "pgbouncer"}
)

// installLine is the line that installs the product on this machine.
func (p product) installLine() string {
	return p.hint(runtime.GOOS, func(name string) bool { _, err := exec.LookPath(name); return err == nil })
}

// hint is [product.installLine] for a system that has certain programs.
func (p product) hint(system string, has func(program string) bool) string {
	switch {
	case system == "darwin":
		return "brew install " + p.brew
	case has("apt-get"):
		return "sudo apt-get install --no-install-recommends " + p.apt
	case has("dnf"):
		return "sudo dnf install " + p.dnf
	case has("apk"):
		return "sudo apk add " + p.apk
	case has("brew"):
		return "brew install " + p.brew
	default:
		return "install " + p.name + " with your system's package manager"
	}
}

// missing is the error for a product of which nothing was found.
func (p product) missing() error {
	if mode := getenv("DEVSERVICES"); mode == "off" || mode == "container" {
		return fmt.Errorf("devservices: %s is treated as %w because of DEVSERVICES=%s", p.name, ErrNotInstalled, mode)
	}
	return fmt.Errorf("devservices: %s is %w: %s (or name the directory of its programs in DEVSERVICES_PATH)", p.name, ErrNotInstalled, p.installLine())
}

// wellKnown are directories in which distributions keep servers without putting them into PATH, as patterns.
var wellKnown = []string{
	"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                   // PostgreSQL's own packages for Red Hat
	"/usr/libexec/postgresql*",                           // Alpine
	"/opt/homebrew/opt/postgresql*/bin",                  // Homebrew on Apple silicon
	"/usr/local/opt/postgresql*/bin",                     // Homebrew on Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",     // Homebrew on Linux
	"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
	"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin",
	"/opt/homebrew/bin", "/opt/homebrew/sbin", "/home/linuxbrew/.linuxbrew/bin",
}

// getenv reads the environment, which this package may: it is for tests and development, and has no ConfigFromEnv.
func getenv(name string) string { return os.Getenv(name) } //nolint:forbidigo // see above

// lookup finds the first directory that holds all the named programs, because those of different PostgreSQL versions do not
// mix: in DEVSERVICES_PATH, in PATH, then where distributions hide servers, newest version first.
func lookup(all ...string) (dir string, ok bool) {
	if mode := getenv("DEVSERVICES"); mode == "off" || mode == "container" {
		return "", false
	}
	for _, dir := range searchPath() {
		if !slices.ContainsFunc(all, func(name string) bool { return !isProgram(filepath.Join(dir, name)) }) {
			return dir, true
		}
	}
	return "", false
}

func searchPath() []string {
	dirs := filepath.SplitList(getenv("DEVSERVICES_PATH"))
	dirs = append(dirs, filepath.SplitList(getenv("PATH"))...)
	for _, pattern := range wellKnown {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		slices.SortFunc(found, func(a, b string) int { return versionIn(b) - versionIn(a) })
		dirs = append(dirs, found...)
	}
	return dirs
}

// versionIn is the last number in a path, which is the major version in all the patterns above.
func versionIn(path string) int {
	last := 0
	for f := range strings.FieldsFuncSeq(path, func(r rune) bool { return r < '0' || r > '9' }) {
		if n, err := strconv.Atoi(f); err == nil {
			last = n
		}
	}
	return last
}

// isProgram reports whether path is a native program: /usr/bin/psql on Debian and others are scripts that choose a
// server of their own.
func isProgram(path string) bool {
	f, err := os.Open(path) //nolint:gosec // only its first bytes are looked at
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // only read
	var magic [4]byte
	if _, err := f.Read(magic[:]); err != nil {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&0o111 == 0 {
		return false
	}
	return bytes.Equal(magic[:], []byte("\x7fELF")) ||
		bytes.Equal(magic[:], []byte("\xcf\xfa\xed\xfe")) || // Mach-O, 64 bit
		bytes.Equal(magic[:], []byte("\xca\xfe\xba\xbe")) // Mach-O for several processors
}
