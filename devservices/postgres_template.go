package devservices

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pedro-go/pedro/internal/filelock"
)

// template is a data directory fresh from initdb. Copying it is five times as fast as running initdb.
type template struct {
	dir      string
	data     string
	password string
}

// initdbArgs are the same everywhere: the locale is fixed, so that no test depends on the machine's.
var initdbArgs = []string{"-N", "--locale=C", "-E", "UTF8", "--wal-segsize=1", "-U", postgresUser, "-A", "scram-sha-256"}

// postgresTemplate returns this user's template for the programs in bin, made if there is none.
func postgresTemplate(ctx context.Context, b *bed, bin string) (*template, error) {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	version, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output() //nolint:gosec // found on this machine
	if err != nil {
		return nil, fmt.Errorf("devservices: postgres --version: %w", err)
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(string(version) + bin + strings.Join(initdbArgs, " ")))
	t := &template{dir: filepath.Join(cache, fmt.Sprintf("postgres-%x", sum[:6]))}
	t.data = filepath.Join(t.dir, "data")
	if t.load() {
		return t, nil
	}
	lock, err := filelock.Lock(ctx, t.dir+".lock")
	if err != nil {
		return nil, fmt.Errorf("devservices: %w", err)
	}
	defer lock.Close() //nolint:errcheck // only a lock
	if t.load() {      // somebody else made it while we waited
		return t, nil
	}
	if err := t.make(ctx, b, bin); err != nil {
		return nil, err
	}
	return t, nil
}

// cacheDir is where templates outlive the run: this user's cache, or the temporary directory if there is none. It is not
// in memory, where it would stay.
func cacheDir() (string, error) {
	if user, err := os.UserCacheDir(); err == nil {
		dir := filepath.Join(user, "pedro-devservices")
		if err := os.MkdirAll(dir, 0o700); err == nil {
			return dir, nil
		}
	}
	base, err := claim(os.TempDir(), nil)
	if err != nil {
		return "", fmt.Errorf("devservices: %w", err)
	}
	dir := filepath.Join(base, "cache")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("devservices: %w", err)
	}
	return dir, nil
}

func (t *template) load() bool {
	password, err := os.ReadFile(filepath.Join(t.dir, "password"))
	t.password = string(password)
	return err == nil && t.password != ""
}

// discard removes a template that no server starts from.
func (t *template) discard() { _ = os.RemoveAll(t.dir) }

// make runs initdb where the servers' account can, and moves the result into the cache at once, so that nobody ever
// sees half of it.
func (t *template) make(ctx context.Context, b *bed, bin string) error {
	work, err := b.newDir("initdb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // goes with the run's directory at the latest
	password := rand.Text()
	passwordFile := filepath.Join(work, "password")
	if err := b.writeFile(passwordFile, password); err != nil {
		return err
	}
	made := filepath.Join(work, "data")
	args := append([]string{"-D", made, "--pwfile", passwordFile}, initdbArgs...)
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), args...) //nolint:gosec // found on this machine
	cmd.Dir = work
	cmd.Env = childEnv(work)
	cmd.SysProcAttr = serverAttr(b.account, 0)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("devservices: initdb: %w%s", err, excerpt(string(out)))
	}
	part, err := os.MkdirTemp(filepath.Dir(t.dir), "part-")
	if err != nil {
		return fmt.Errorf("devservices: %w", err)
	}
	defer os.RemoveAll(part) //nolint:errcheck // nothing is left of it unless something failed
	plain := &bed{}          // the cache is ours, whoever runs the servers
	err = plain.copyTree(made, filepath.Join(part, "data"))
	err = errors.Join(err, os.WriteFile(filepath.Join(part, "password"), []byte(password), 0o600))
	if err != nil {
		return fmt.Errorf("devservices: %w", err)
	}
	if err := os.Rename(part, t.dir); err != nil {
		return fmt.Errorf("devservices: %w", err)
	}
	t.password = password
	return nil
}

// copyTree copies a directory, readable by the servers' account alone.
func (b *bed) copyTree(from, to string) error {
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			err = os.Mkdir(target, 0o700)
		case d.Type().IsRegular():
			err = copyFile(path, target)
		default:
			return nil // initdb makes no others
		}
		if err != nil {
			return err
		}
		return b.own(target)
	})
	if err != nil {
		return fmt.Errorf("devservices: copy template: %w", err)
	}
	return nil
}

func copyFile(from, to string) error {
	src, err := os.Open(from) //nolint:gosec // below our own template
	if err != nil {
		return err
	}
	defer src.Close()                                                     //nolint:errcheck // only read
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // below our own directory
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src) // copy_file_range on Linux
	return errors.Join(err, dst.Close())
}
