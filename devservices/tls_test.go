package devservices_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/devservices"
)

func newCA(t *testing.T) *devservices.CA {
	t.Helper()
	ca, err := devservices.NewCA(t.TempDir())
	if err != nil {
		t.Fatalf("NewCA: got error %v, want none", err)
	}
	return ca
}

func issue(t *testing.T, f func() (*devservices.Certificate, error)) *devservices.Certificate {
	t.Helper()
	c, err := f()
	if err != nil {
		t.Fatalf("certificate: got error %v, want none", err)
	}
	return c
}

// refusals are the certificates a client has to refuse, and how crypto/x509 says so.
func refusals(t *testing.T, ca *devservices.CA) map[string]struct {
	cert *devservices.Certificate
	is   func(error) bool
} {
	t.Helper()
	expired := func(err error) bool {
		e, ok := errors.AsType[x509.CertificateInvalidError](err)
		return ok && e.Reason == x509.Expired // of both ends of its life
	}
	type refusal = struct {
		cert *devservices.Certificate
		is   func(error) bool
	}
	return map[string]refusal{
		"good":          {issue(t, ca.Server), func(err error) bool { return err == nil }},
		"expired":       {issue(t, ca.Expired), expired},
		"not yet valid": {issue(t, ca.NotYetValid), expired},
		"wrong host": {issue(t, ca.WrongHost), func(err error) bool {
			_, ok := errors.AsType[x509.HostnameError](err)
			return ok
		}},
		"unknown authority": {issue(t, newCA(t).Server), func(err error) bool {
			_, ok := errors.AsType[x509.UnknownAuthorityError](err)
			return ok
		}},
	}
}

// ping asks a Redis over TLS, with a certificate of the client's own if there is one.
func ping(t *testing.T, r *devservices.Redis, roots *x509.CertPool, own ...tls.Certificate) error {
	t.Helper()
	o, err := redis.ParseURL(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	o.TLSConfig = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: own}
	o.MaxRetries, o.DialerRetries = -1, 1
	c := redis.NewClient(o)
	defer c.Close()
	return c.Ping(t.Context()).Err()
}

func TestRedisTLS(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	for name, c := range refusals(t, ca) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startRedis(t, devservices.WithRedisTLS(c.cert))
			if err := ping(t, r, ca.Pool()); !c.is(err) {
				t.Errorf("PING: got error %v, want that of a certificate that is %s", err, name)
			}
		})
	}
}

func TestRedisClientCertificates(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	r := startRedis(t, devservices.WithRedisTLS(issue(t, ca.Server)), devservices.WithRedisClientCertificates())
	if err := ping(t, r, ca.Pool()); err == nil {
		t.Error("PING without a certificate: got an answer, want an error")
	}
	own, err := issue(t, func() (*devservices.Certificate, error) { return ca.Client("app") }).TLS()
	if err != nil {
		t.Fatal(err)
	}
	if err := ping(t, r, ca.Pool(), own); err != nil {
		t.Errorf("PING with a certificate: got error %v, want none", err)
	}
	if _, err := devservices.StartRedis(t.Context(), devservices.WithRedisClientCertificates()); err == nil {
		t.Error("client certificates without TLS: got no error, want one")
	}
}

func TestPostgresTLS(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	for name, c := range refusals(t, ca) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPostgres(t, devservices.WithPostgresTLS(c.cert))
			cfg, err := pgx.ParseConfig(p.URL())
			if err != nil {
				t.Fatal(err)
			}
			cfg.TLSConfig.RootCAs = ca.Pool()
			conn, err := pgx.ConnectConfig(t.Context(), cfg)
			if err == nil {
				defer conn.Close(context.Background())
			}
			if !c.is(err) {
				t.Errorf("connect: got error %v, want that of a certificate that is %s", err, name)
			}
		})
	}
}

func TestPostgresWithTLSRefusesPlainConnections(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, devservices.WithPostgresTLS(issue(t, newCA(t).Server)))
	cfg, err := pgx.ParseConfig(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	cfg.TLSConfig = nil
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err == nil {
		_ = conn.Close(t.Context())
	}
	if code(err) != "28000" {
		t.Errorf("connect without TLS: got error %v, want 28000", err)
	}
}

func TestPostgresClientCertificatesAndTheReplicaThatHasOne(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	p := startPostgres(t, devservices.WithPostgresTLS(issue(t, ca.Server)), devservices.WithPostgresClientCertificates())
	conn, err := pgx.Connect(t.Context(), p.URL())
	if err == nil {
		_ = conn.Close(t.Context())
	}
	if code(err) != "28000" {
		t.Errorf("connect without a certificate: got error %v, want 28000", err)
	}
	own := issue(t, func() (*devservices.Certificate, error) { return ca.Client(p.User()) })
	with := func(url string) string { return url + "&sslcert=" + own.CertFile + "&sslkey=" + own.KeyFile }
	exec1(t, connect(t, with(p.URL())), "CREATE TABLE t ()")
	r := startReplica(t, p)
	if got := query1[int](t, connect(t, with(r.URL())), "SELECT count(*) FROM t"); got != 0 {
		t.Errorf("rows on the replica: got %d, want 0", got)
	}
}

func TestSentinelAndClusterOverTLS(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	cert := issue(t, ca.Server)
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := startCluster(t, devservices.WithRedisTLS(cert), devservices.WithPassword("pw"))
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Password: "pw", TLSConfig: &tls.Config{RootCAs: ca.Pool()}})
		t.Cleanup(func() { _ = client.Close() })
		for _, key := range []string{"a", "b", "c", "d"} {
			if err := client.Set(t.Context(), key, "v", 0).Err(); err != nil {
				t.Errorf("SET %s: got error %v, want none", key, err)
			}
		}
	})
	t.Run("sentinel", func(t *testing.T) {
		t.Parallel()
		s := startSentinel(t, devservices.WithRedisTLS(cert))
		m, err := s.Master(t.Context())
		if err != nil {
			t.Fatalf("Master: got error %v, want none", err)
		}
		if err := ping(t, m, ca.Pool()); err != nil {
			t.Errorf("PING of the master: got error %v, want none", err)
		}
	})
}
