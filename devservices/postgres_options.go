package devservices

import "slices"

// PostgresOption changes how [StartPostgres] and [Postgres.StartReplica] set their server up.
type PostgresOption func(*postgresOptions)

type postgresOptions struct {
	settings    [][2]string
	cert        *Certificate
	clientCerts bool
}

func newPostgresOptions(opts []PostgresOption) postgresOptions {
	var o postgresOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// WithPostgresConfig sets a parameter of postgresql.conf, for instance "max_connections" to "20". It wins over our own
// settings. Repeating it sets further ones.
func WithPostgresConfig(name, value string) PostgresOption {
	return func(o *postgresOptions) { o.settings = append(slices.Clip(o.settings), [2]string{name, value}) }
}

// WithPostgresTLS makes the server speak TLS, with the given certificate, and refuse connections without.
func WithPostgresTLS(cert *Certificate) PostgresOption {
	return func(o *postgresOptions) { o.cert = cert }
}

// WithPostgresClientCertificates makes the server demand, besides the password, a certificate for the user's name from
// the same authority. It needs [WithPostgresTLS].
func WithPostgresClientCertificates() PostgresOption {
	return func(o *postgresOptions) { o.clientCerts = true }
}

// hba is pg_hba.conf for a server with TLS: nobody gets in without.
func (p *Postgres) hba() string {
	method := "scram-sha-256"
	if p.opts.clientCerts {
		method += " clientcert=verify-full"
	}
	return "hostssl all all 127.0.0.1/32 " + method + "\n" +
		"hostssl replication all 127.0.0.1/32 " + method + "\n"
}
