package session

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// A sealed record is
//
//	version (1 byte) | hint of the secret (1) | nonce (12) | ciphertext and tag
//
// under AES-256-GCM with a key of the secret and the token. The storage ID is
// authenticated with it, so a record that is copied to another key is not
// opened there.
const (
	sealVersion = 1
	sealHeader  = 2
	nonceBytes  = 12
	// tagBytes of a sealed record tell it from every other: all of its nonce.
	tagBytes = sealHeader + nonceBytes + 16
)

// sealBytes encrypts what belongs to name.
func (k *keys) sealBytes(plain []byte, name, place string) ([]byte, error) {
	aead, err := k.cipher(name)
	if err != nil {
		return nil, err
	}
	out := make([]byte, sealHeader+nonceBytes, sealHeader+nonceBytes+len(plain)+aead.Overhead())
	out[0], out[1] = sealVersion, k.hint
	_, _ = rand.Read(out[sealHeader:]) // never fails
	return aead.Seal(out, out[sealHeader:], plain, []byte(place)), nil
}

// openBytes decrypts what sealBytes made with one of the secrets; which tells
// which one.
func openBytes(ring []*keys, raw []byte, name, place string) (plain []byte, which int, err error) {
	if len(raw) < sealHeader+nonceBytes || raw[0] != sealVersion {
		return nil, 0, errCorrupt
	}
	for i, k := range ring {
		if k.hint != raw[1] {
			continue
		}
		aead, err := k.cipher(name)
		if err != nil {
			return nil, 0, err
		}
		nonce, rest := raw[sealHeader:sealHeader+nonceBytes], raw[sealHeader+nonceBytes:]
		if plain, err := aead.Open(nil, nonce, rest, []byte(place)); err == nil {
			return plain, i, nil
		}
	}
	return nil, 0, errCorrupt
}

// nativeFormat is how sessions are stored unless they are shared with others.
type nativeFormat struct {
	ring []*keys
	cfg  *Config
}

func (*nativeFormat) identOf(token string) ident { return identOf(token) }

func (*nativeFormat) accepts(string) error { return nil }

func (f *nativeFormat) expiry(r *record) time.Time { return expiry(f.cfg, r) }

// cookie adds how long a browser is to keep it.
func (f *nativeFormat) cookie(r *record, c *http.Cookie) { //nolint:gosec // setCookie has the rest
	switch {
	case !f.cfg.Persistent:
	case f.cfg.Lifetime <= 0:
		c.MaxAge = 400 * 24 * 3600 // what browsers allow at most (RFC 6265bis)
	default:
		c.MaxAge = max(1, int(time.Until(time.UnixMilli(r.Created).Add(f.cfg.Lifetime)).Seconds()))
	}
}

func (f *nativeFormat) encode(r *record, id ident) ([]byte, error) {
	plain, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("session: encode: %w", err)
	}
	return f.ring[0].sealBytes(plain, id.token, id.sid)
}

func (f *nativeFormat) decode(raw []byte, id ident) (*record, error) {
	plain, which, err := openBytes(f.ring, raw, id.token, id.sid)
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(plain, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	r.old = which > 0
	return &r, nil
}

// baseTag is the part of a stored record by which a script recognizes it.
func (f *nativeFormat) baseTag(raw []byte) []byte { return raw[:min(len(raw), tagBytes)] }

func (f *nativeFormat) newIdent(of ident) ident { return identOf(newToken(of.token)) }

func (f *nativeFormat) cookieValue(id ident, name string) string {
	mac := f.ring[0].mac(name, id.token)
	return id.token + "." + b64.EncodeToString(mac[:])
}

// parseCookie verifies a cookie. stale says that it was signed with an old
// secret.
func (f *nativeFormat) parseCookie(value, name string) (id ident, stale, ok bool) {
	if len(value) != cookieLen || value[tokenLen] != '.' {
		return ident{}, false, false
	}
	var got, raw [64]byte
	token := value[:tokenLen]
	if n, err := b64Strict.Decode(got[:], []byte(value[tokenLen+1:])); err != nil || n != macBytes {
		return ident{}, false, false
	}
	if n, err := b64Strict.Decode(raw[:], []byte(token)); err != nil || n != tokenBytes {
		return ident{}, false, false
	}
	for i, k := range f.ring {
		if want := k.mac(name, token); constantTimeEqual(got[:macBytes], want[:]) {
			return identOf(token), i > 0, true
		}
	}
	return ident{}, false, false
}
