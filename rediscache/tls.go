package rediscache

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	"github.com/pedro-go/pedro/internal/env"
)

// validateTLS reports what is wrong with the TLS… fields. The files are read
// here and once more by New: a mistake in them is one of configuration.
func (c Config) validateTLS(p *env.Problems) {
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		p.Add("REDIS_TLS_KEY", "and REDIS_TLS_CERT belong together; set both or none")
		return
	}
	if c.TLSCAFile != "" {
		if _, err := certPool(c.TLSCAFile); err != nil {
			p.Add("REDIS_TLS_CA", "%v", err)
		}
	}
	if c.TLSCertFile != "" {
		// The library's error may quote the file; the reason is enough.
		if _, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile); err != nil {
			p.Add("REDIS_TLS_CERT", "cannot be used with REDIS_TLS_KEY; both must be readable PEM files that belong together")
		}
	}
	if files := c.TLSCAFile + c.TLSCertFile + c.TLSServerName; !c.usesTLS() && (files != "" || c.TLSSkipVerify) {
		p.Add("REDIS_TLS", "must be true (or REDIS_URL begin with rediss://) for the other REDIS_TLS_ variables to have an effect")
	}
}

func (c Config) usesTLS() bool {
	if t, err := parseURL(c.URL); err == nil {
		return t.tls || c.TLS && t.network == "tcp"
	}
	return c.TLS
}

// tlsConfig builds the TLS configuration, nil for none.
func (c Config) tlsConfig() (*tls.Config, error) {
	if !c.usesTLS() {
		return nil, nil
	}
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         c.TLSServerName,
		InsecureSkipVerify: c.TLSSkipVerify, //nolint:gosec // off unless the host says so, and documented as such
	}
	if c.TLSCAFile != "" {
		pool, err := certPool(c.TLSCAFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = pool
	}
	if c.TLSCertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

var errNoCertificates = errors.New("holds no PEM certificates")

func certPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file) //nolint:gosec // the host's own configuration names the file
	if err != nil {
		return nil, errors.New("cannot be read; it must be a file of PEM certificates")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errNoCertificates
	}
	return pool, nil
}
