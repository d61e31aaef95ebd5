// Package pgpooltest gives tests a real PostgreSQL database.
//
//	func TestPatients(t *testing.T) {
//		pool, err := pgpool.New(pgpool.Config{URL: pgpooltest.Start(t, pgpooltest.WithSchema("clinic", migrate))})
//		…
//	}
//
// All tests of a test binary share one private server, started by the first; each gets a database of its own, made in
// about 20 ms, so tests may run in parallel. Tests of outages take [StartServer], whose result can be killed, paused and
// restarted without anybody else noticing.
//
// # Failure
//
// Without an installed PostgreSQL the test is skipped, with a line that says how to install it. Where the environment
// variable CI is set it fails instead, or a green run would hide that nothing was tested.
//
// # Order
//
// The shared server ends with the test binary. Packages that check for leaks end it themselves, by [Close] at the end of
// TestMain.
//
// # Environment
//
// The first [Start] or [StartServer] unsets the PG* variables of the test binary (PGHOST, PGSERVICE, PGSSLMODE …), because
// pgx mixes them into every address it is given.
//
// # What the package does not do
//
// It starts nothing if TEST_DATABASE_URL is set: databases are then made on, and dropped from, that server, whose user
// needs the right to (CREATEDB). What [WithSchema] makes there is dropped by [Close] only.
package pgpooltest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/devservices"
)

// dropTimeout bounds the removal of a test's database.
const dropTimeout = 30 * time.Second

// Start returns the URL of a fresh database that belongs to this test alone. The database is dropped when the test ends;
// connections that are still open then are cut.
func Start(tb testing.TB, opts ...Option) string {
	tb.Helper()
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	forgetLibpq()
	h, err := theHost(tb.Context())
	if err != nil {
		giveUp(tb, err)
	}
	template := "template0"
	if o.schema != "" {
		if template, err = h.template(tb.Context(), o); err != nil {
			tb.Fatalf("pgpooltest: schema %s: %v", o.schema, err)
		}
	}
	name := h.newName()
	if err := h.exec(tb.Context(), "CREATE DATABASE "+quote(name)+" TEMPLATE "+quote(template)); err != nil {
		tb.Fatalf("pgpooltest: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), dropTimeout)
		defer cancel()
		if err := h.exec(ctx, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)"); err != nil {
			tb.Errorf("pgpooltest: %v", err)
		}
	})
	return h.urlOf(name)
}

// StartServer starts a PostgreSQL of the test's own, whatever TEST_DATABASE_URL says. It is closed when the test ends.
func StartServer(tb testing.TB, opts ...devservices.PostgresOption) *devservices.Postgres {
	tb.Helper()
	return start(tb, func(ctx context.Context) (*devservices.Postgres, error) {
		return devservices.StartPostgres(ctx, opts...)
	})
}

// StartReplica starts a streaming replica of a server; see [devservices.Postgres.StartReplica]. It is closed when the test
// ends.
func StartReplica(tb testing.TB, primary *devservices.Postgres, opts ...devservices.PostgresOption) *devservices.Postgres {
	tb.Helper()
	return start(tb, func(ctx context.Context) (*devservices.Postgres, error) {
		return primary.StartReplica(ctx, opts...)
	})
}

// StartPgBouncer starts a pooler in front of a server, in transaction mode unless told otherwise; see
// [devservices.StartPgBouncer]. It is closed when the test ends.
func StartPgBouncer(tb testing.TB, pg *devservices.Postgres, opts ...devservices.PgBouncerOption) *devservices.PgBouncer {
	tb.Helper()
	return start(tb, func(ctx context.Context) (*devservices.PgBouncer, error) {
		return devservices.StartPgBouncer(ctx, pg, opts...)
	})
}

// Close ends the shared server. It is for the end of TestMain, in packages that check for leaks; without it the server
// ends with the test binary. Without a shared server it does nothing.
func Close() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.host == nil {
		return nil
	}
	h := shared.host
	shared.host = nil
	if h.server != nil {
		return h.server.Close()
	}
	return h.dropSchemas()
}

// start ends the test if there is nothing to start, and closes what it started when the test ends.
func start[S interface{ Close() error }](tb testing.TB, f func(context.Context) (S, error)) S {
	tb.Helper()
	forgetLibpq()
	s, err := f(tb.Context())
	if err != nil {
		giveUp(tb, err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("pgpooltest: close: %v", err)
		}
	})
	return s
}

// forgetLibpq unsets what libpq's users have in their environment.
var forgetLibpq = sync.OnceFunc(func() {
	for _, v := range os.Environ() { //nolint:forbidigo // that is the point
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PG") && name == strings.ToUpper(name) {
			_ = os.Unsetenv(name)
		}
	}
})

// getenv reads the environment, which a test kit may.
func getenv(name string) string { return os.Getenv(name) } //nolint:forbidigo // see above

func giveUp(tb testing.TB, err error) {
	tb.Helper()
	if errors.Is(err, devservices.ErrNotInstalled) && getenv("CI") == "" {
		tb.Skipf("no PostgreSQL to test with: %v", err)
	}
	tb.Fatalf("pgpooltest: %v", err)
}

// host is the server on which the databases are made.
type host struct {
	server *devservices.Postgres // nil: TEST_DATABASE_URL
	admin  *url.URL
	run    string // keeps the names of test binaries apart that share a server

	mu        sync.Mutex
	databases int
	schemas   map[string]*schema
}

var shared struct {
	sync.Mutex

	host *host
}

// theHost starts the shared server if nobody has yet. A failure is not kept: the next test tries again.
func theHost(ctx context.Context) (*host, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.host != nil {
		return shared.host, nil
	}
	h := &host{schemas: map[string]*schema{}, run: fmt.Sprintf("test_%d_%d", os.Getpid(), time.Now().UnixNano()%1e6)}
	address := getenv("TEST_DATABASE_URL")
	if address == "" {
		s, err := devservices.StartPostgres(ctx)
		if err != nil {
			return nil, err
		}
		h.server, address = s, s.URL()
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		// The cause would show the address, with its password.
		return nil, errors.New("TEST_DATABASE_URL: want the form postgres://user:password@host:port/database")
	}
	h.admin = u
	shared.host = h
	return h, nil
}

func (h *host) newName() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.databases++
	return fmt.Sprintf("%s_%d", h.run, h.databases)
}

func (h *host) urlOf(database string) string {
	u := *h.admin
	u.Path = "/" + database
	return u.String()
}

// exec runs one statement over a connection of its own. Shared ones would be leaks to those who look for them.
func (h *host) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, h.admin.String())
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
