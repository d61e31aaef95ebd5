package session_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"testing"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// appendOnly makes a Redis that keeps its data when it is killed.
func appendOnly() devservices.RedisOption { return devservices.WithAppendOnly() }

// signExpress is cookie-signature's sign, URL-encoded.
func signExpress(sid string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(sid))
	return url.QueryEscape(base64.RawStdEncoding.EncodeToString(h.Sum(nil)))
}

// median of what is not empty.
func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

func redisURL(tb testing.TB) string {
	tb.Helper()
	return rediscachetest.Start(tb)
}
