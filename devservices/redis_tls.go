package devservices

import (
	"crypto/tls"
	"errors"
)

type redisTLS struct {
	server  *Certificate
	clients bool // demand a certificate of clients
}

// WithRedisTLS makes the server speak TLS only, with the given certificate. Replication and the cluster bus use it as
// well. Clients need no certificate; see [WithRedisClientCertificates].
func WithRedisTLS(cert *Certificate) RedisOption {
	return func(o *redisOptions) {
		t := o.tlsOptions()
		t.server = cert
		o.tls = &t
	}
}

// WithRedisClientCertificates makes the server demand a certificate of the same authority from every client. It needs
// [WithRedisTLS].
func WithRedisClientCertificates() RedisOption {
	return func(o *redisOptions) {
		t := o.tlsOptions()
		t.clients = true
		o.tls = &t
	}
}

// tlsOptions is a copy to be changed: options may be shared between servers.
func (o *redisOptions) tlsOptions() redisTLS {
	if o.tls == nil {
		return redisTLS{}
	}
	return *o.tls
}

// files installs the certificate for a server and returns the lines that make it use it.
func (t *redisTLS) files(r *Redis) ([]string, error) {
	if t.server == nil {
		return nil, errors.New("devservices: redis: WithRedisClientCertificates needs WithRedisTLS")
	}
	cert, key, ca, err := t.server.install(r.server, "server")
	if err != nil {
		return nil, err
	}
	demand := "no"
	if t.clients {
		demand = "yes"
	}
	return []string{
		"tls-cert-file " + quote(cert), "tls-key-file " + quote(key), "tls-ca-cert-file " + quote(ca),
		"tls-auth-clients " + demand, "tls-replication yes",
	}, nil
}

// probeConfig accepts any certificate: bad ones are the point of some tests, and the probe only asks whether the server is up.
func (t *redisTLS) probeConfig() *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // see above
	if t.clients && t.server != nil {
		if own, err := t.server.TLS(); err == nil {
			c.Certificates = []tls.Certificate{own}
		}
	}
	return c
}
