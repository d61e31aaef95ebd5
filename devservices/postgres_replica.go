package devservices

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// StartReplica starts a streaming replica of p, which has to be running, and returns when the replica takes read-only
// connections, after about 0.3 s. It has p's user and password. What is committed on p reaches it a moment later; it
// does not hold up commits.
//
// Options are added to p's own. Close the replica before p.
func (p *Postgres) StartReplica(ctx context.Context, opts ...PostgresOption) (*Postgres, error) {
	o := p.opts
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return freshStart(ctx, func(ctx context.Context) (*Postgres, error) {
		r, err := newPostgres(o)
		if err != nil {
			return nil, err
		}
		if err := r.bootReplica(ctx, p); err != nil {
			return nil, errors.Join(err, r.Close())
		}
		return r, nil
	})
}

// bootReplica copies the running primary and follows it from there.
func (p *Postgres) bootReplica(ctx context.Context, primary *Postgres) error {
	p.password = primary.password
	// The password stands in a file of libpq's format, which the replica goes on reading for its connection.
	passFile := filepath.Join(p.dir, "pgpass")
	if err := p.bed.writeFile(passFile, "*:*:*:*:"+p.password+"\n"); err != nil {
		return err
	}
	conninfo := fmt.Sprintf("host=127.0.0.1 port=%d user=%s passfile=%s application_name=replica_%d", primary.Port(), postgresUser, passFile, p.Port())
	if primary.opts.cert != nil {
		own, err := primary.opts.cert.ca.Client(postgresUser)
		if err != nil {
			return err
		}
		cert, key, ca, err := own.install(p.server, "replica")
		if err != nil {
			return err
		}
		conninfo += " sslmode=verify-ca sslrootcert=" + ca + " sslcert=" + cert + " sslkey=" + key
	}
	if err := p.tool(ctx, "pg_basebackup", "-D", p.data, "-d", conninfo, "-c", "fast", "-X", "stream", "-R", "--no-sync"); err != nil {
		return err
	}
	if err := p.configure(); err != nil {
		return err
	}
	return p.start(ctx)
}

// Promote makes a replica a primary of its own and returns when it takes writes. The former primary, if it still runs,
// is not told.
func (p *Postgres) Promote(ctx context.Context) error {
	return p.tool(ctx, "pg_ctl", "promote", "-w", "-D", p.data)
}

// InRecovery reports whether the server is a replica that has not been promoted.
func (p *Postgres) InRecovery() bool {
	_, err := os.Stat(filepath.Join(p.data, "standby.signal"))
	return err == nil
}

// tool runs one of PostgreSQL's own programs as the servers' account and waits for it.
func (p *Postgres) tool(ctx context.Context, name string, args ...string) error {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	path := filepath.Join(p.bin, name)
	if !isProgram(path) {
		return fmt.Errorf("devservices: %s is %w beside %s: %s", name, ErrNotInstalled, p.exe, postgresProduct.installLine())
	}
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // found on this machine
	cmd.Dir = p.dir
	cmd.Env = childEnv(p.dir)
	cmd.SysProcAttr = serverAttr(p.bed.account, 0)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("devservices: %s: %w%s", name, err, strings.ReplaceAll(excerpt(string(out)), p.password, "[hidden]"))
	}
	return nil
}
