package pgpool_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pedro-go/pedro/pgpool"
)

// FuzzURL: a connection string is taken, or refused without showing any of it;
// and what is taken is not shown with its password.
func FuzzURL(f *testing.F) {
	for _, c := range corpus {
		before, after, _ := strings.Cut(c.url, "pw")
		f.Add(before, after)
	}
	f.Add("host=h user=u password='", "' dbname=x")
	f.Add("postgres://u:", "@h:port/db")
	f.Add("postgres://u:", "/@h,h:1,[::1/db?sslmode=%zz&x")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "c4n4ryc4n4ry"
		p, err := pgpool.New(pgpool.Config{URL: before + secret + after})
		if err != nil {
			if !errors.Is(err, pgpool.ErrInvalidConfig) || strings.Contains(err.Error(), "c4n4ry") {
				t.Errorf("%q, %q: %v, want ErrInvalidConfig that shows nothing", before, after, err)
			}
			return
		}
		defer p.Stop(t.Context())
		if c := p.Pgx().Config().ConnConfig; c.Password == secret && strings.Contains(p.String(), secret) {
			t.Errorf("%q, %q: the pool is shown as %v", before, after, p)
		}
	})
}

// FuzzSupabase: the same for what a project is described by.
func FuzzSupabase(f *testing.F) {
	f.Add("https://"+ref+".supabase.co", "key", "")
	f.Add("https://api.example.com", "eyJhbGciOiJIUzI1NiJ9.eyJyZWYiOiJhYmNkZWZnaGlqa2xtbm9wcXJzdCJ9.c2ln", "aws-0-eu-central-1.pooler.supabase.com:6543")
	f.Add("http://127.0.0.1:54321", "a.b.c", "h:0")
	f.Add("://", "..", "[::1]:x")
	f.Fuzz(func(t *testing.T, url, key, host string) {
		const secret = "p@/:?#% c4n4ry"
		p, err := pgpool.New(pgpool.Config{SupabaseURL: url, SupabasePassword: secret, SupabaseServiceKey: key, SupabasePoolerHost: host})
		if err != nil {
			if url != "" && !errors.Is(err, pgpool.ErrInvalidConfig) || strings.Contains(err.Error(), "c4n4ry") {
				t.Errorf("%q, %q, %q: %v", url, key, host, err)
			}
			return
		}
		defer p.Stop(t.Context())
		if got := p.Pgx().Config().ConnConfig.Password; got != secret {
			t.Errorf("%q, %q, %q: the password became %q", url, key, host, got)
		}
		if strings.Contains(p.String(), "c4n4ry") {
			t.Errorf("%q, %q, %q: the pool is shown as %v", url, key, host, p)
		}
	})
}
