package rediscache_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// TestBadCertificates: nobody but the right server is talked to.
func TestBadCertificates(t *testing.T) {
	t.Parallel()
	ca, err := devservices.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cert func() (*devservices.Certificate, error)
		want string
	}{
		"expired":       {ca.Expired, "expired"},
		"not yet valid": {ca.NotYetValid, "not yet valid"},
		"wrong host":    {ca.WrongHost, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert, err := c.cert()
			if err != nil {
				t.Fatal(err)
			}
			s := rediscachetest.StartServer(t, devservices.WithRedisTLS(cert), devservices.WithPassword("canary"))
			cache, err := rediscache.New(rediscache.Config{URL: s.URL(), TLSCAFile: ca.File(), Required: true})
			if err != nil {
				t.Fatal(err)
			}
			defer cache.Stop(context.Background())
			limited, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err = cache.Start(limited)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("Start = %v, want an error that says %q and no password", err, c.want)
			}
		})
	}
}
