package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"sync"
)

// Sizes of the parts of a token, in bytes. The family decides on which node of
// a Cluster the session and its successors live, and is no secret between them;
// the rest is.
const (
	familyBytes = 8
	tokenBytes  = 32 // 64 bits of family and 192 that nobody can guess
	macBytes    = 16
	tokenLen    = 43 // in base64
	macLen      = 22
	cookieLen   = tokenLen + 1 + macLen
)

var (
	b64       = base64.RawURLEncoding
	b64Strict = base64.RawURLEncoding.Strict() // refuses bits that mean nothing
)

// keys are what is derived from one secret. The secret itself is never used.
type keys struct {
	hint    byte      // tells which secret sealed a record; no more than 8 bits of a derived key
	signers sync.Pool // of *signer, with the signing key
	seal    []byte    // derives the key of a record
	index   []byte    // hides user IDs
	ref     []byte    // makes the references that users see
}

func newKeys(secret string) (*keys, error) {
	derive := func(purpose string) ([]byte, error) {
		return hkdf.Key(sha256.New, []byte(secret), nil, "pedro session v1 "+purpose, sha256.Size)
	}
	var k keys
	var sign, hint []byte
	for _, part := range []struct {
		dst     *[]byte
		purpose string
	}{{&sign, "sign"}, {&k.seal, "seal"}, {&k.index, "index"}, {&k.ref, "ref"}, {&hint, "hint"}} {
		key, err := derive(part.purpose)
		if err != nil {
			return nil, err
		}
		*part.dst = key
	}
	k.hint = hint[0]
	k.signers.New = func() any { return &signer{hmac: hmac.New(sha256.New, sign)} }
	return &k, nil
}

// A signer is used again and again, with its memory.
type signer struct {
	hmac hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

// mac signs a token for a cookie of this name.
func (k *keys) mac(name, token string) (mac [macBytes]byte) {
	s := k.signers.Get().(*signer) // the pool holds nothing else
	s.text = append(s.text[:0], name...)
	s.text = append(s.text, '|')
	s.text = append(s.text, token...)
	s.hmac.Reset()
	_, _ = s.hmac.Write(s.text)
	copy(mac[:], s.hmac.Sum(s.sum[:0]))
	k.signers.Put(s)
	return mac
}

// cipher returns the cipher for what belongs to this token or user alone. A dump
// of the store opens nothing. With the secret it opens, of a user whose ID is
// known, the list, and with the tokens in it that user's sessions; of anonymous
// ones none.
func (k *keys) cipher(name string) (cipher.AEAD, error) {
	block, err := aes.NewCipher(hmacSum(k.seal, name))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// userKey is how a user is called in the store.
func (k *keys) userKey(userID string) string {
	return b64.EncodeToString(hmacSum(k.index, userID)[:18])
}

// refOf is how a session is called in front of its user.
func (k *keys) refOf(sid string) string { return b64.EncodeToString(hmacSum(k.ref, sid)[:12]) }

func hmacSum(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(data))
	return h.Sum(nil)
}

// newToken makes a token, of the family of another if that is not empty.
func newToken(of string) string {
	var b [tokenBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	if of != "" {
		var old [tokenBytes]byte
		if n, err := b64.Decode(old[:], []byte(of)); err == nil && n == tokenBytes {
			copy(b[:familyBytes], old[:familyBytes])
		}
	}
	return b64.EncodeToString(b[:])
}

// storageID is where the session of a token is kept: a hash, behind the hash
// of the family in braces, by which a Cluster keeps a family on one node.
func storageID(token string) string {
	var raw [tokenBytes]byte
	_, _ = b64.Decode(raw[:], []byte(token))
	family := sha256.Sum256(raw[:familyBytes])
	whole := sha256.Sum256(raw[:])
	var out [10 + 43]byte
	out[0] = '{'
	b64.Encode(out[1:9], family[:6])
	out[9] = '}'
	b64.Encode(out[10:], whole[:])
	return string(out[:])
}
