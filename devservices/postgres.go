package devservices

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// postgresUser is the superuser that initdb makes.
const postgresUser = "postgres"

// Postgres is one PostgreSQL server. Its methods are safe for concurrent use.
type Postgres struct {
	*server

	bin      string // the directory of initdb, postgres and the other programs of this version
	data     string
	password string
	opts     postgresOptions
}

// StartPostgres starts a PostgreSQL server and returns when it answers: after 0.1 to 0.4 s, or about 1 s the first time
// on a machine, when the data directory that later ones are copied from is made. It listens on loopback only and has
// one database, "postgres", and a superuser of that name with a random password.
//
// Commits survive [Postgres.Kill], which is why synchronous_commit stays on; they need not survive a crash of the machine (fsync is off).
//
// Close it when you are done with it.
func StartPostgres(ctx context.Context, opts ...PostgresOption) (*Postgres, error) {
	o := newPostgresOptions(opts)
	return freshStart(ctx, func(ctx context.Context) (*Postgres, error) {
		p, err := newPostgres(o)
		if errors.Is(err, ErrNotInstalled) {
			return startContainedPostgres(ctx, o, err)
		}
		if err != nil {
			return nil, err
		}
		if err := p.boot(ctx); err != nil {
			return nil, errors.Join(err, p.Close())
		}
		return p, nil
	})
}

// newPostgres prepares a server that has no data yet.
func newPostgres(o postgresOptions) (*Postgres, error) {
	bin, ok := lookup("postgres", "initdb")
	if !ok {
		return nil, postgresProduct.missing()
	}
	// PostgreSQL finds its files relative to its program, so a link elsewhere is followed.
	exe, err := filepath.EvalSymlinks(filepath.Join(bin, "postgres"))
	if err != nil {
		return nil, fmt.Errorf("devservices: %w", err)
	}
	s, err := newServer("postgres")
	if err != nil {
		return nil, err
	}
	p := &Postgres{server: s, bin: filepath.Dir(exe), data: filepath.Join(s.dir, "data"), opts: o}
	s.exe, s.args = exe, []string{"-D", p.data}
	s.stopSignal = syscall.SIGINT   // "fast": ends sessions, writes a checkpoint
	s.deathSignal = syscall.SIGQUIT // "immediate": SIGKILL would leave shared memory behind
	s.probe = p.answers
	// The orphans of a killed postmaster need some milliseconds to notice.
	s.transient = "pre-existing shared memory block"
	s.afterKill = p.removeSharedMemory
	return p, nil
}

func (p *Postgres) boot(ctx context.Context) error {
	t, err := postgresTemplate(ctx, p.bed, p.bin)
	if err != nil {
		return err
	}
	p.password = t.password
	if err := p.bed.copyTree(t.data, p.data); err != nil {
		return err
	}
	if err := p.configure(); err != nil {
		return err
	}
	err = p.start(ctx)
	if err != nil && !errors.Is(err, errPortTaken) && ctx.Err() == nil && len(p.opts.settings) == 0 {
		t.discard() // a power cut may have damaged it
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return err
}

// configure appends our settings to the ones that initdb wrote: the last one of a name counts.
func (p *Postgres) configure() error {
	settings := append([][2]string{
		{"listen_addresses", "127.0.0.1"},
		{"port", strconv.Itoa(p.Port())},
		{"unix_socket_directories", ""}, // Debian's default cannot be written to, and paths get too long
	}, p.settings()...)
	if p.opts.cert != nil {
		cert, key, ca, err := p.opts.cert.install(p.server, "server")
		if err != nil {
			return err
		}
		settings = append(settings, [][2]string{
			{"ssl", "on"}, {"ssl_cert_file", cert}, {"ssl_key_file", key}, {"ssl_ca_file", ca},
		}...)
		if err := p.bed.writeFile(filepath.Join(p.data, "pg_hba.conf"), p.hba()); err != nil {
			return err
		}
	}
	settings = append(settings, p.opts.settings...)
	return p.appendSettings(settings)
}

// settings are those that do not depend on where the server runs.
func (p *Postgres) settings() [][2]string {
	return [][2]string{
		{"fsync", "off"},
		{"full_page_writes", "off"},
		{"synchronous_commit", "on"},
		{"dynamic_shared_memory_type", "mmap"}, // "posix" leaves files in /dev/shm after a kill
		{"max_connections", "300"},
		{"shared_buffers", "64MB"},
		{"max_wal_size", "256MB"},
		{"wal_keep_size", "64MB"},
		{"wal_retrieve_retry_interval", "100ms"}, // 5 s by default, in which a replica ignores that its primary is back
		{"log_line_prefix", "%m [%p] "},
	}
}

func (p *Postgres) appendSettings(settings [][2]string) error {
	f, err := os.OpenFile(filepath.Join(p.data, "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("devservices: %w", err)
	}
	for _, s := range settings {
		_, werr := fmt.Fprintf(f, "%s = '%s'\n", s[0], strings.ReplaceAll(s[1], "'", "''"))
		err = errors.Join(err, werr)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("devservices: %w", err)
	}
	return nil
}

// URL is the address of the database "postgres" with the superuser's credentials, as DATABASE_URL wants it.
func (p *Postgres) URL() string { return p.DatabaseURL("postgres") }

// DatabaseURL is [Postgres.URL] for another database.
func (p *Postgres) DatabaseURL(database string) string {
	q := url.Values{"sslmode": {"disable"}}
	if p.opts.cert != nil {
		q = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {p.opts.cert.ca.File()}}
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(postgresUser, p.password),
		Host: p.Addr(), Path: "/" + database, RawQuery: q.Encode(),
	}
	return u.String()
}

// User is the superuser's name.
func (p *Postgres) User() string { return postgresUser }

// Password is the superuser's password.
func (p *Postgres) Password() string { return p.password }

// answers is the readiness probe: a start-up packet, to which a server that takes connections replies with a demand for
// authentication, and one that does not yet with an error of class 57P03.
func (p *Postgres) answers(ctx context.Context) error { return postgresAnswers(ctx, p.Addr()) }

func postgresAnswers(ctx context.Context, addr string) error {
	d := net.Dialer{Timeout: respTimeout}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing was asked of it that could be lost
	if err := conn.SetDeadline(time.Now().Add(respTimeout)); err != nil {
		return err
	}
	body := "user\x00" + postgresUser + "\x00database\x00postgres\x00\x00"
	packet := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	packet = binary.BigEndian.AppendUint32(packet, 3<<16) // protocol 3.0
	if _, err := conn.Write(append(packet, body...)); err != nil {
		return err
	}
	head := make([]byte, 5)
	if _, err := io.ReadFull(conn, head); err != nil {
		return err
	}
	if head[0] != 'E' {
		return nil
	}
	text := make([]byte, min(binary.BigEndian.Uint32(head[1:]), 4096))
	n, err := io.ReadFull(conn, text)
	if strings.Contains(string(text[:n]), "C57P03") {
		return errors.New("the database system is starting up")
	}
	if n > 0 {
		return nil // some other refusal: it is up
	}
	return err
}

// removeSharedMemory removes the System V segment of a server that could not do so itself. The kernel has only 4,096.
func (p *Postgres) removeSharedMemory() {
	text, err := os.ReadFile(filepath.Join(p.data, "postmaster.pid"))
	if err != nil {
		return
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 7 {
		return
	}
	f := strings.Fields(lines[6]) // key and id
	if len(f) == 2 {
		_ = exec.Command("ipcrm", "-m", f[1]).Run() //nolint:gosec,noctx // a number; ends at once
	}
}
