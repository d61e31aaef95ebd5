package devservices

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// account is the unprivileged user whom servers run as when this process is root: PostgreSQL and PgBouncer refuse to
// run as root, and Redis has no need to.
type account struct{ uid, gid int }

// serverAccount returns nil unless this process is root. The user has to be a named one: initdb looks it up.
func serverAccount() (*account, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 == nil && err2 == nil {
			return &account{uid: uid, gid: gid}, nil
		}
	}
	return nil, errors.New("devservices: this process is root, and servers need an ordinary account: neither postgres nor nobody exists; create one (useradd --system postgres) or run as an ordinary user")
}

// minFree is the free space a directory needs before servers are put there: containers often give /dev/shm 64 MB.
const minFree = 1 << 30

// baseDir is where this user's runs live: in memory where that is large enough, which makes PostgreSQL three times as
// fast, else in the temporary directory.
func baseDir(who *account) (string, error) {
	candidates := []string{getenv("DEVSERVICES_TMP")}
	if freeBytes("/dev/shm") >= minFree {
		candidates = append(candidates, "/dev/shm")
	}
	candidates = append(candidates, os.TempDir(), "/tmp", "/var/tmp")
	var problems []error
	for _, parent := range candidates {
		if parent == "" {
			continue
		}
		dir, err := claim(parent, who)
		if err == nil {
			return dir, nil
		}
		problems = append(problems, err)
	}
	return "", fmt.Errorf("devservices: no directory for servers: %w", errors.Join(problems...))
}

// claim makes this user's directory below parent, and refuses one that somebody else has put there.
func claim(parent string, who *account) (string, error) {
	parent, err := filepath.Abs(parent)
	if err != nil {
		return "", err
	}
	if who != nil {
		if err := passable(parent); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(parent, "pedro-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) { //nolint:gosec // passed through by the servers' account
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if !info.IsDir() || !isOurs(info) || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s belongs to somebody else or is open to others", dir)
	}
	return dir, nil
}

// passable reports whether an account other than ours can go through dir and everything above it.
func passable(dir string) error {
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("%s is closed to the account that runs servers", dir)
		}
		up := filepath.Dir(dir)
		if up == dir {
			return nil
		}
		dir = up
	}
}
