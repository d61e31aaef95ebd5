package pgpool_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// TestTLS: with sslmode=verify-full only the right server is talked to, and no
// failure leads to a connection in the clear.
func TestTLS(t *testing.T) {
	t.Parallel()
	ca, err := devservices.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other, err := devservices.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	plain := pgpooltest.StartServer(t)
	for name, c := range map[string]struct {
		cert func() (*devservices.Certificate, error) // nil: a server without TLS
		root string
		want string // part of the error, "" for none
	}{
		"good":              {func() (*devservices.Certificate, error) { return ca.Server() }, ca.File(), ""},
		"expired":           {ca.Expired, ca.File(), "expired"},
		"not yet valid":     {ca.NotYetValid, ca.File(), "not yet valid"},
		"wrong host":        {ca.WrongHost, ca.File(), "127.0.0.1"},
		"unknown authority": {func() (*devservices.Certificate, error) { return other.Server() }, ca.File(), "unknown authority"},
		"no TLS at all":     {nil, ca.File(), "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := plain.URL()
			if c.cert != nil {
				cert, err := c.cert()
				if err != nil {
					t.Fatal(err)
				}
				address = pgpooltest.StartServer(t, devservices.WithPostgresTLS(cert)).URL()
			}
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {c.root}}.Encode()
			p, err := pgpool.New(pgpool.Config{URL: u.String(), ConnectTimeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Stop(t.Context())
			err = p.Ping(t.Context())
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				if on, err := pgpool.Get[bool](t.Context(), p, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"); err != nil || !on {
					t.Errorf("the connection is encrypted: %v, %v", on, err)
				}
				return
			}
			password, _ := u.User.Password()
			if !errors.Is(err, pgpool.ErrUnavailable) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), password) {
				t.Errorf("Ping = %v, want ErrUnavailable that says %q and no password", err, c.want)
			}
			if n := p.Stats().TotalConns; n != 0 {
				t.Errorf("%d connections, want none", n)
			}
		})
	}
}
