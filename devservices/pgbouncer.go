package devservices

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// PoolMode is when PgBouncer gives a client's server connection to somebody else.
type PoolMode string

const (
	// TransactionMode gives it away after each transaction, as Supabase's port 6543 does.
	TransactionMode PoolMode = "transaction"
	// SessionMode keeps it until the client disconnects.
	SessionMode PoolMode = "session"
	// StatementMode gives it away after each statement and refuses transactions.
	StatementMode PoolMode = "statement"
)

// PgBouncer is a connection pooler in front of a [Postgres]. Its methods are safe for concurrent use.
type PgBouncer struct {
	*server

	pg *Postgres
}

// PgBouncerOption changes how [StartPgBouncer] sets the pooler up.
type PgBouncerOption func(*bouncerOptions)

type bouncerOptions struct {
	mode     PoolMode
	poolSize int
	lines    []string
}

// WithPoolMode sets the pool mode. The default is [TransactionMode].
func WithPoolMode(m PoolMode) PgBouncerOption {
	return func(o *bouncerOptions) { o.mode = m }
}

// WithServerConns sets how many connections to PostgreSQL there are for each user and database. The default is 20, which
// is PgBouncer's own.
func WithServerConns(n int) PgBouncerOption {
	return func(o *bouncerOptions) { o.poolSize = n }
}

// WithPgBouncerConfig adds a line to the section [pgbouncer] of its configuration, for instance
// "ignore_startup_parameters = statement_timeout". It stands after our own lines and so wins. Repeating it adds further
// lines.
func WithPgBouncerConfig(line string) PgBouncerOption {
	return func(o *bouncerOptions) { o.lines = append(slices.Clip(o.lines), line) }
}

// StartPgBouncer starts PgBouncer in front of pg and returns when it answers. All of pg's databases are reached through
// it, by pg's user and password, and PgBouncer's own console by the database "pgbouncer". It takes no start-up parameter
// that PgBouncer does not take by default: statement_timeout, for instance, is refused.
//
// pg must not demand TLS. Close the pooler before pg.
func StartPgBouncer(ctx context.Context, pg *Postgres, opts ...PgBouncerOption) (*PgBouncer, error) {
	o := bouncerOptions{mode: TransactionMode, poolSize: 20}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return freshStart(ctx, func(ctx context.Context) (*PgBouncer, error) {
		dir, ok := lookup("pgbouncer")
		if !ok {
			return nil, pgbouncerProduct.missing()
		}
		s, err := newServer("pgbouncer")
		if err != nil {
			return nil, err
		}
		b := &PgBouncer{server: s, pg: pg}
		s.exe = filepath.Join(dir, "pgbouncer")
		s.args = []string{filepath.Join(s.dir, "pgbouncer.ini")}
		s.probe = func(ctx context.Context) error { return postgresAnswers(ctx, s.Addr()) }
		if err := b.configure(o); err != nil {
			return nil, errors.Join(err, b.Close())
		}
		if err := b.start(ctx); err != nil {
			return nil, errors.Join(err, b.Close())
		}
		return b, nil
	})
}

func (b *PgBouncer) configure(o bouncerOptions) error {
	users := filepath.Join(b.dir, "users.txt")
	if err := b.bed.writeFile(users, fmt.Sprintf("%q %q\n", postgresUser, b.pg.password)); err != nil {
		return err
	}
	lines := []string{
		"[databases]",
		"* = host=127.0.0.1 port=" + strconv.Itoa(b.pg.Port()),
		"[pgbouncer]",
		"listen_addr = 127.0.0.1",
		"listen_port = " + strconv.Itoa(b.Port()),
		"unix_socket_dir =",
		"auth_type = scram-sha-256",
		"auth_file = " + users,
		"admin_users = " + postgresUser,
		"pool_mode = " + string(o.mode),
		"default_pool_size = " + strconv.Itoa(o.poolSize),
		"max_client_conn = 1000",
		"server_login_retry = 1", // 15 s by default, for which a pooler stays dead after its server is back
	}
	return b.bed.writeFile(b.args[0], strings.Join(append(lines, o.lines...), "\n")+"\n")
}

// URL is the address of the database "postgres" through the pooler, as DATABASE_URL wants it.
func (b *PgBouncer) URL() string { return b.DatabaseURL("postgres") }

// DatabaseURL is [PgBouncer.URL] for another database.
func (b *PgBouncer) DatabaseURL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(postgresUser, b.pg.password),
		Host: b.Addr(), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}
