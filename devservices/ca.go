package devservices

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"
)

// CA is a certificate authority that nobody trusts but who is told to. It issues good certificates and, on request,
// bad ones. Its methods are safe for concurrent use.
type CA struct {
	dir    string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial atomic.Int64
}

// Certificate is a certificate and its key, as PEM files.
type Certificate struct {
	CertFile, KeyFile string

	ca *CA
}

// validFor is the life of good certificates: longer than any test run.
const validFor = 24 * time.Hour

// NewCA makes an authority that keeps its files in dir, which has to exist, for instance t.TempDir(). The files are the
// caller's to remove.
func NewCA(dir string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("devservices: ca: %w", err)
	}
	now := time.Now()
	ca := &CA{dir: dir, key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "devservices CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(validFor),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("devservices: ca: %w", err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("devservices: ca: %w", err)
	}
	return ca, writePEM(ca.File(), "CERTIFICATE", der)
}

// File is the path of the authority's certificate, for sslrootcert and the like.
func (ca *CA) File() string { return filepath.Join(ca.dir, "ca.pem") }

// Pool holds the authority's certificate alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Server issues a good certificate for 127.0.0.1, ::1 and localhost.
func (ca *CA) Server() (*Certificate, error) {
	return ca.issue("localhost", []string{"localhost", "127.0.0.1", "::1"}, -time.Hour, validFor)
}

// Expired issues a certificate like [CA.Server] that ended an hour ago.
func (ca *CA) Expired() (*Certificate, error) {
	return ca.issue("localhost", []string{"localhost", "127.0.0.1", "::1"}, -2*time.Hour, -time.Hour)
}

// NotYetValid issues a certificate like [CA.Server] that begins in an hour.
func (ca *CA) NotYetValid() (*Certificate, error) {
	return ca.issue("localhost", []string{"localhost", "127.0.0.1", "::1"}, time.Hour, validFor)
}

// WrongHost issues a certificate for another.invalid.
func (ca *CA) WrongHost() (*Certificate, error) {
	return ca.issue("another.invalid", []string{"another.invalid"}, -time.Hour, validFor)
}

// Client issues a client certificate for the named user.
func (ca *CA) Client(name string) (*Certificate, error) {
	return ca.issue(name, nil, -time.Hour, validFor)
}

func (ca *CA) issue(name string, hosts []string, from, to time.Duration) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("devservices: ca: %w", err)
	}
	now, n := time.Now(), ca.serial.Add(1)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(from), NotAfter: now.Add(to), KeyUsage: x509.KeyUsageDigitalSignature,
		// Both uses: nodes of a cluster are servers to clients and clients to one another.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return nil, fmt.Errorf("devservices: ca: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("devservices: ca: %w", err)
	}
	base := filepath.Join(ca.dir, "cert-"+strconv.FormatInt(n, 10))
	c := &Certificate{CertFile: base + ".pem", KeyFile: base + ".key", ca: ca}
	if err := writePEM(c.CertFile, "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return c, writePEM(c.KeyFile, "PRIVATE KEY", keyDER)
}

// TLS is the certificate as crypto/tls wants it.
func (c *Certificate) TLS() (tls.Certificate, error) {
	return tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
}

// install copies the certificate, its key and its authority to where a server can read them.
func (c *Certificate) install(s *server, name string) (cert, key, ca string, err error) {
	paths := []string{name + ".pem", name + ".key", "ca.pem"}
	for i, from := range []string{c.CertFile, c.KeyFile, c.ca.File()} {
		text, err := os.ReadFile(from) //nolint:gosec // written by issue
		if err != nil {
			return "", "", "", fmt.Errorf("devservices: certificate: %w", err)
		}
		paths[i] = filepath.Join(s.dir, paths[i])
		if err := s.bed.writeFile(paths[i], string(text)); err != nil {
			return "", "", "", err
		}
	}
	return paths[0], paths[1], paths[2], nil
}

func writePEM(path, kind string, der []byte) error {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("devservices: ca: %w", err)
	}
	return nil
}
