package pgpool_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

const ref = "abcdefghijklmnopqrst"

// The connection strings that people really have. want is what the pool makes
// of them: user, host, port, database, TLS, mode, and settings worth a look.
var corpus = []struct{ url, want string }{
	// plain
	{"postgres://u:pw@db.example.com/app", "u db.example.com:5432/app tls=only auto"},
	{"postgresql://u:pw@db.example.com:5433/app?sslmode=disable", "u db.example.com:5433/app tls=none auto"},
	{"postgres://u:pw@db.example.com/app?sslmode=prefer", "u db.example.com:5432/app tls=prefer auto"},
	{"postgres://u:pw@db.example.com/app?sslmode=no-verify", "u db.example.com:5432/app tls=only auto"},
	{"postgres://u:pw@db.example.com/app?ssl=true", "u db.example.com:5432/app tls=only auto"},
	{"POSTGRES://u:pw@db.example.com/app", "u db.example.com:5432/app tls=only auto"},
	{"postgres://u:pw@localhost/app", "u localhost:5432/app tls=prefer auto"},
	{"postgres://u:pw@127.0.0.1:5432/app", "u 127.0.0.1:5432/app tls=prefer auto"},
	{"postgres://u:pw@[::1]:5432/app", "u [::1]:5432/app tls=prefer auto"},
	{"postgres://u:pw@[2001:db8::1]/app", "u [2001:db8::1]:5432/app tls=only auto"},
	{"postgres://u:pw@10.1.2.3/app", "u 10.1.2.3:5432/app tls=prefer auto"},
	{"postgres://u:pw@db:5432/app", "u db:5432/app tls=prefer auto"}, // Docker Compose
	{"postgres://u:pw@pg.default.svc.cluster.local/app", "u pg.default.svc.cluster.local:5432/app tls=prefer auto"},
	{"postgres://u:p%40%2F%3A%3F%23%25w@db.example.com/app", "u db.example.com:5432/app tls=only auto"},
	{"postgres://u:p#w@db.example.com/app", "u db.example.com:5432/app tls=only auto"},
	{"postgres://u:p+w@db.example.com/app", "u db.example.com:5432/app tls=only auto"},
	{" \"postgres://u:pw@db.example.com/app\"\n", "u db.example.com:5432/app tls=only auto"},
	{"'postgres://u:pw@db.example.com/app'", "u db.example.com:5432/app tls=only auto"},
	{"host=db.example.com port=5433 user=u password='p w' dbname=app", "u db.example.com:5433/app tls=only auto"},
	{"host=/var/run/postgresql user=u dbname=app", "u /var/run/postgresql:5432/app tls=none auto"},
	{"postgres:///app?host=/var/run/postgresql&user=u", "u /var/run/postgresql:5432/app tls=none auto"},
	// several hosts
	{"postgres://u:pw@a.example.com:1,b.example.com:2/app", "u a.example.com:1/app tls=only auto +b.example.com:2 primary"},
	{"postgres://u:pw@a.example.com,b.example.com/app?target_session_attrs=any", "u a.example.com:5432/app tls=only auto +b.example.com:5432"},
	{"postgres://u:pw@a.example.com,b.example.com/app?target_session_attrs=read-write", "u a.example.com:5432/app tls=only auto +b.example.com:5432 primary"},
	// other languages' drivers
	{"postgresql+asyncpg://u:pw@db.example.com/app", "u db.example.com:5432/app tls=only auto"},
	{"postgresql+psycopg2://u:pw@db.example.com/app", "u db.example.com:5432/app tls=only auto"},
	{"postgres://u:pw@db.example.com/app?pgbouncer=true&connection_limit=1&pool_timeout=20", "u db.example.com:5432/app tls=only transaction"},
	{"postgres://u:pw@db.example.com/app?schema=clinic", "u db.example.com:5432/app tls=only auto search_path=clinic"},
	{"postgres://u:pw@db.example.com/app?sslmode=require&uselibpqcompat=true&workaround=supabase-pooler.vercel", "u db.example.com:5432/app tls=only auto"},
	{"postgres://u:pw@db.example.com/app?pool_mode=session", "u db.example.com:5432/app tls=only session"},
	{"postgres://u:pw@db.example.com/app?application_name=mine", "u db.example.com:5432/app tls=only auto application_name=mine"},
	// services
	{"postgres://u:pw@ep-cool-name-123456.eu-central-1.aws.neon.tech/app?sslmode=require&channel_binding=prefer", "u ep-cool-name-123456.eu-central-1.aws.neon.tech:5432/app tls=only auto"},
	{"postgres://u:pw@dpg-abc-a.frankfurt-postgres.render.com/app", "u dpg-abc-a.frankfurt-postgres.render.com:5432/app tls=only auto"},
	{"postgres://u:pw@postgres.railway.internal:5432/app", "u postgres.railway.internal:5432/app tls=prefer auto"},
	{"postgres://u:pw@db.example.com:6543/app", "u db.example.com:6543/app tls=only transaction"},
	// Supabase
	{"postgresql://postgres:pw@db." + ref + ".supabase.co:5432/postgres", "postgres db." + ref + ".supabase.co:5432/postgres tls=only direct"},
	{"postgresql://postgres:pw@db." + ref + ".supabase.co:6543/postgres", "postgres db." + ref + ".supabase.co:6543/postgres tls=only transaction"},
	{"postgres://postgres." + ref + ":pw@aws-0-eu-central-1.pooler.supabase.com:5432/postgres", "postgres." + ref + " aws-0-eu-central-1.pooler.supabase.com:5432/postgres tls=only session"},
	{"postgres://postgres." + ref + ":pw@aws-1-us-east-1.pooler.supabase.com:6543/postgres?pgbouncer=true&supa=base-pooler.x", "postgres." + ref + " aws-1-us-east-1.pooler.supabase.com:6543/postgres tls=only transaction"},
	{"postgresql://postgres:postgres@127.0.0.1:54322/postgres", "postgres 127.0.0.1:54322/postgres tls=prefer auto"},
}

// show renders what the pool will do.
func show(p *pgpool.Pool) string {
	c := p.Pgx().Config().ConnConfig
	tls := "none"
	plain := c.TLSConfig == nil
	others := ""
	for _, f := range c.Fallbacks {
		if f.TLSConfig == nil && f.Host == c.Host {
			plain = true
		}
		if f.Host != c.Host && f.TLSConfig != nil {
			others += fmt.Sprintf(" +%s:%d", f.Host, f.Port)
		}
	}
	if c.TLSConfig != nil {
		tls = "only"
		if plain {
			tls = "prefer"
		}
	}
	host := c.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	s := fmt.Sprintf("%s %s:%d/%s tls=%s %s%s", c.User, host, c.Port, c.Database, tls, p.Stats().PoolMode, others)
	if c.ValidateConnect != nil {
		s += " primary"
	}
	for _, name := range []string{"search_path", "application_name"} {
		if v := c.RuntimeParams[name]; v != "" && v != pgpool.DefaultAppName {
			s += " " + name + "=" + v
		}
	}
	return s
}

func TestConnectionStrings(t *testing.T) {
	t.Parallel()
	for _, c := range corpus {
		p, err := pgpool.New(pgpool.Config{URL: c.url})
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if got := show(p); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.url, got, c.want)
		}
		for name := range p.Pgx().Config().ConnConfig.RuntimeParams {
			switch name {
			case "application_name", "search_path":
			default:
				t.Errorf("%s: the server would be sent %q", c.url, name)
			}
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestConnectionStringMistakes(t *testing.T) {
	t.Parallel()
	for url, says := range map[string]string{
		"jdbc:postgresql://h/db?password=s3cret":                         "JDBC",
		"mysql://u:s3cret@h/db":                                          "postgres://",
		"s3cret":                                                         "not a connection string",
		"postgres://u:s3cret@h:99999/db":                                 "port",
		"postgres://u:s3cret@h:port/db":                                  "port",
		"postgres://u:s3cret@h/db?sslmode=s3cret":                        "sslmode",
		"postgres://u:[YOUR-PASSWORD]@h/db":                              "placeholder",
		"postgres://u:s3cret/with/slash@h/db":                            "%2F",
		"postgres://u:s3cret%zz@h/db":                                    "%25",
		"postgres://u:s3cret@h/db?target_session_attrs=whatever":         "target_session_attrs",
		"postgres://u:s3cret@h/db?sslmode=verify-ca&sslrootcert=/s3cret": "sslrootcert",
		"host=h user=u password=s3cret' dbname":                          "parsed",
	} {
		_, err := pgpool.New(pgpool.Config{URL: url})
		if !errors.Is(err, pgpool.ErrInvalidConfig) || !strings.Contains(err.Error(), "DATABASE_URL: ") || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q and no secret", url, err, says)
		}
	}
}

func TestSupabase(t *testing.T) {
	t.Parallel()
	// {"iss":"supabase","ref":"abcdefghijklmnopqrst","role":"service_role"}
	const key = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJzdXBhYmFzZSIsInJlZiI6ImFiY2RlZmdoaWprbG1ub3BxcnN0Iiwicm9sZSI6InNlcnZpY2Vfcm9sZSJ9.c2ln"
	url := "https://" + ref + ".supabase.co"
	for _, c := range []struct {
		cfg  pgpool.Config
		want string // or, with a leading "!", the variable at fault
	}{
		{pgpool.Config{SupabaseURL: url, SupabasePassword: "p@/:?#% w"}, "postgres db." + ref + ".supabase.co:5432/postgres tls=only direct"},
		{pgpool.Config{SupabaseURL: url + "/", SupabasePassword: "pw"}, "postgres db." + ref + ".supabase.co:5432/postgres tls=only direct"},
		{pgpool.Config{SupabaseURL: "https://db." + ref + ".supabase.co", SupabasePassword: "pw"}, "postgres db." + ref + ".supabase.co:5432/postgres tls=only direct"},
		{pgpool.Config{SupabaseURL: url, SupabaseServiceKey: "pw"}, "postgres db." + ref + ".supabase.co:5432/postgres tls=only direct"},
		{pgpool.Config{SupabaseURL: url, SupabasePassword: "pw", SupabasePoolerHost: "aws-0-eu-central-1.pooler.supabase.com"}, "postgres." + ref + " aws-0-eu-central-1.pooler.supabase.com:5432/postgres tls=only session"},
		{pgpool.Config{SupabaseURL: url, SupabasePassword: "pw", SupabasePoolerHost: "aws-0-eu-central-1.pooler.supabase.com:6543"}, "postgres." + ref + " aws-0-eu-central-1.pooler.supabase.com:6543/postgres tls=only transaction"},
		{pgpool.Config{SupabaseURL: "https://api.example.com", SupabasePassword: "pw", SupabaseServiceKey: key}, "postgres db." + ref + ".supabase.co:5432/postgres tls=only direct"},
		{pgpool.Config{SupabaseURL: "http://127.0.0.1:54321", SupabasePassword: "postgres"}, "postgres 127.0.0.1:54322/postgres tls=none auto"},
		{pgpool.Config{URL: "postgres://u:pw@localhost/app", SupabaseURL: url, SupabasePassword: "pw"}, "u localhost:5432/app tls=prefer auto"},
		{pgpool.Config{SupabaseURL: url}, "!SUPABASE_DB_PASSWORD"},
		{pgpool.Config{SupabaseURL: "nonsense", SupabasePassword: "pw"}, "!SUPABASE_URL"},
		{pgpool.Config{SupabaseURL: "https://api.example.com", SupabasePassword: "pw"}, "!SUPABASE_URL"},
		{pgpool.Config{SupabaseURL: "https://UPPER_case!.supabase.co", SupabasePassword: "pw"}, "!SUPABASE_URL"},
		{pgpool.Config{SupabaseURL: "https://zzzzzzzzzzzzzzzzzzzz.supabase.co", SupabasePassword: "pw", SupabaseServiceKey: key}, "!SUPABASE_SERVICE_KEY"},
		{pgpool.Config{SupabaseURL: url, SupabasePassword: "pw", SupabasePoolerHost: "https://x/"}, "!SUPABASE_POOLER_HOST"},
	} {
		p, err := pgpool.New(c.cfg)
		if at, ok := strings.CutPrefix(c.want, "!"); ok {
			if !errors.Is(err, pgpool.ErrInvalidConfig) || !strings.Contains(err.Error(), at+":") {
				t.Errorf("%v: %v, want %s named", c.cfg, err, at)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", c.cfg, err)
			continue
		}
		if got := show(p); got != c.want {
			t.Errorf("%v:\n got %s\nwant %s", c.cfg, got, c.want)
		}
		if c.cfg.URL == "" && c.cfg.SupabasePassword != "" && p.Pgx().Config().ConnConfig.Password != c.cfg.SupabasePassword {
			t.Errorf("%v: the password was changed", c.cfg)
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// What comes out of a network without IPv6 must say what to do.
func TestSupabaseDirectHostUnreachable(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{
		&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)},
		&net.DNSError{Err: "no such host", Name: "db", IsNotFound: true},
	} {
		p, err := pgpool.New(pgpool.Config{SupabaseURL: "https://" + ref + ".supabase.co", SupabasePassword: "pw", ConnectTimeout: 50 * time.Millisecond},
			pgpool.WithBeforeConnect(func(_ context.Context, cfg *pgx.ConnConfig) error {
				cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"2001:db8::1"}, nil }
				cfg.DialFunc = func(context.Context, string, string) (net.Conn, error) { return nil, cause }
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Stop(context.Background()) })
		if err := p.Ping(t.Context()); !errors.Is(err, pgpool.ErrUnavailable) || !strings.Contains(err.Error(), "SUPABASE_POOLER_HOST") {
			t.Errorf("got %v, want ErrUnavailable and the advice", err)
		}
	}
}
