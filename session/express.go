package session

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pedro-go/pedro/internal/env"
)

// ExpressConfig says how a Node service on express-session and connect-redis
// keeps its sessions. The zero value means those packages' defaults.
type ExpressConfig struct {
	// Prefix is connect-redis' prefix. The default is "sess:". [Config].KeyPrefix
	// must not begin with it.
	Prefix string
	// UserKey is the property of req.session with the user's ID, a string or a
	// number. The default is "userId". It is [Session.UserID] here.
	UserKey string
	// AuthenticatedKey is a property that is true while the user of UserKey is
	// logged in. Empty, the default: UserKey alone says so.
	AuthenticatedKey string
	// NumericUserID writes IDs that are whole numbers as JSON numbers.
	NumericUserID bool
	// MaxAge is express-session's cookie.maxAge: the cookie and the record end
	// so long after the last use. The default, 0, is none.
	MaxAge time.Duration
	// TTL is connect-redis' ttl, for records without MaxAge. The default is 24h.
	TTL time.Duration
	// Rolling is express-session's rolling: the cookie's end moves with use. It
	// is sent anew when use is written down, every [Config].TouchEvery.
	Rolling bool
}

// WithExpressSessions shares sessions with a Node service: cookies and records
// are those of express-session and connect-redis, read and written field for
// field, so that a login, a change or a logout on either side holds on the
// other. SESSION_SECRET and SESSION_NAME must be those of the Node service.
//
// What its format cannot hold is not there: records are readable in Redis, keys
// are the IDs, there are no "__Host-" names, and IDs change at logins but not
// with RegenerateEvery. IdleTimeout and Lifetime are ignored, MaxAge and TTL
// count. [Manager.RevokeAll] removes every record, one by one. Node itself still
// overwrites what others have saved meanwhile; this side does not.
func WithExpressSessions(cfg ExpressConfig) Option {
	return func(o *options) {
		if cfg.Prefix == "" {
			cfg.Prefix = "sess:"
		}
		if cfg.UserKey == "" {
			cfg.UserKey = "userId"
		}
		if cfg.TTL == 0 {
			cfg.TTL = 24 * time.Hour
		}
		o.express = &cfg
	}
}

func (c *ExpressConfig) validate(p *env.Problems, cfg Config) {
	if len(cfg.Secrets) == 0 {
		p.Add("SESSION_SECRET", "is needed to share sessions with Express; use the secret of the Node service")
	}
	if k := cfg.withDefaults().KeyPrefix; strings.HasPrefix(k, c.Prefix) {
		p.Add("SESSION_PREFIX", "must not begin with ExpressConfig.Prefix, or RevokeAll would take what is there for sessions")
	}
	if c.MaxAge < 0 || c.TTL < time.Second {
		p.Add("ExpressConfig", "MaxAge must not be negative, and TTL must be 1s or more")
	}
	if c.UserKey == c.AuthenticatedKey {
		p.Add("ExpressConfig", "UserKey and AuthenticatedKey must differ: one is the user's ID, the other true")
	}
	for _, key := range []string{c.UserKey, c.AuthenticatedKey} {
		if key == expressCookie || key == expressMeta {
			p.Add("ExpressConfig", "UserKey and AuthenticatedKey must not be %s or %s, which have a meaning already", expressCookie, expressMeta)
		}
	}
}

// The properties of a record that are not values.
const (
	expressCookie = "cookie"
	expressMeta   = "pedro" // what we know of the session; Node keeps it and does not mind
	isoMillis     = "2006-01-02T15:04:05.000Z"
)

// foreign is what an Express record holds beside the values.
type foreign struct {
	cookie json.RawMessage
	user   json.RawMessage // as Node wrote it: a number stays a number
}

// expressCookieData is what of the cookie object concerns us.
type expressCookieData struct {
	OriginalMaxAge *float64 `json:"originalMaxAge"`
	Expires        *string  `json:"expires"`
	Secure         any      `json:"secure"`
	HTTPOnly       *bool    `json:"httpOnly"`
	Domain         string   `json:"domain"`
	Path           string   `json:"path"`
	SameSite       any      `json:"sameSite"`
}

// expressFormat is the format of express-session and connect-redis.
type expressFormat struct {
	cfg *ExpressConfig
	m   *Manager
}

func (*expressFormat) newIdent(ident) ident {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	return expressIdent(base64.RawURLEncoding.EncodeToString(b[:]))
}

// expressIdent is an ID whose name in the store is itself.
func expressIdent(sid string) ident { return ident{token: sid, sid: sid} }

func (f *expressFormat) identOf(token string) ident { return expressIdent(token) }

func expressSign(secret, sid string) string {
	h := hmac.New(sha256.New, []byte(secret))
	_, _ = h.Write([]byte(sid))
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil))
}

func (f *expressFormat) cookieValue(id ident, _ string) string {
	return "s%3A" + url.QueryEscape(id.token+"."+expressSign(f.m.cfg.Secrets[0], id.token))
}

func (f *expressFormat) parseCookie(value, _ string) (id ident, stale, ok bool) {
	if len(value) > 1024 {
		return ident{}, false, false
	}
	plain, err := url.PathUnescape(value)
	if err != nil || !strings.HasPrefix(plain, "s:") {
		return ident{}, false, false
	}
	dot := strings.LastIndexByte(plain, '.')
	if dot <= 2 {
		return ident{}, false, false
	}
	sid, mac := plain[2:dot], plain[dot+1:]
	for _, r := range sid { // it goes into a made-up request, and into Redis
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`";,\`, r) {
			return ident{}, false, false
		}
	}
	for i, secret := range f.m.cfg.Secrets {
		if constantTimeEqual([]byte(mac), []byte(expressSign(secret, sid))) {
			return expressIdent(sid), i > 0, true
		}
	}
	return ident{}, false, false
}

// baseTag is the whole record: nothing in it is there only once.
func (*expressFormat) baseTag(raw []byte) []byte { return raw }

// expiry follows the cookie object, as connect-redis does.
func (f *expressFormat) expiry(r *record) time.Time {
	if r.foreign != nil {
		var c expressCookieData
		if json.Unmarshal(r.foreign.cookie, &c) == nil && c.OriginalMaxAge != nil && c.Expires != nil {
			if at, err := time.Parse(time.RFC3339, *c.Expires); err == nil {
				if next := time.UnixMilli(r.Seen).Add(time.Duration(*c.OriginalMaxAge) * time.Millisecond); next.After(at) {
					return next
				}
				return at
			}
		}
	} else if f.cfg.MaxAge > 0 {
		return time.UnixMilli(r.Seen).Add(f.cfg.MaxAge)
	}
	return time.UnixMilli(r.Seen).Add(f.cfg.TTL)
}

func (f *expressFormat) decode(raw []byte, _ ident) (*record, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil || all == nil {
		return nil, fmt.Errorf("%w: no JSON object", errCorrupt)
	}
	var c expressCookieData
	if err := json.Unmarshal(all[expressCookie], &c); err != nil {
		return nil, fmt.Errorf("%w: no cookie object", errCorrupt)
	}
	now := time.Now()
	r := &record{Created: now.UnixMilli(), Rotated: now.UnixMilli(), Seen: now.Add(-f.m.cfg.TouchEvery).UnixMilli(), Epoch: f.m.epoch.Load()}
	if meta := all[expressMeta]; meta != nil {
		if err := json.Unmarshal(meta, r); err != nil {
			return nil, fmt.Errorf("%w: %w", errCorrupt, err)
		}
		r.Epoch = f.m.epoch.Load() // RevokeAll removes records
	}
	if c.OriginalMaxAge != nil && c.Expires != nil {
		if at, err := time.Parse(time.RFC3339, *c.Expires); err == nil {
			seen := at.Add(-time.Duration(*c.OriginalMaxAge) * time.Millisecond).UnixMilli()
			r.Seen = min(max(r.Seen, seen), now.UnixMilli())
		}
	}
	r.foreign = &foreign{cookie: all[expressCookie], user: all[f.cfg.UserKey]}
	r.User, r.Values, r.Retired = userText(all[f.cfg.UserKey]), nil, false
	if key := f.cfg.AuthenticatedKey; key != "" && string(all[key]) != "true" {
		r.User = ""
	}
	if r.User == "" {
		r.AuthTime = 0
	}
	for _, key := range []string{expressCookie, expressMeta, f.cfg.UserKey, f.cfg.AuthenticatedKey} {
		delete(all, key)
	}
	r.Values = all
	return r, nil
}

// userText is a user ID as text.
func userText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

func (f *expressFormat) encode(r *record, _ ident) ([]byte, error) {
	cookie, err := f.cookieObject(r)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(`{"` + expressCookie + `":`)
	b.Write(cookie)
	property := func(key string, value []byte) {
		b.WriteByte(',')
		b.Write(quoted(key))
		b.WriteByte(':')
		b.Write(value)
	}
	if r.User != "" {
		property(f.cfg.UserKey, f.userValue(r))
		if f.cfg.AuthenticatedKey != "" {
			property(f.cfg.AuthenticatedKey, []byte("true"))
		}
	}
	keys := make([]string, 0, len(r.Values))
	for key := range r.Values {
		if err := f.accepts(key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		property(key, r.Values[key])
	}
	meta := *r
	meta.Values, meta.User, meta.Epoch = nil, "", 0
	m, err := json.Marshal(&meta)
	if err != nil {
		return nil, err
	}
	property(expressMeta, m)
	b.WriteByte('}')
	return b.Bytes(), nil
}

// accepts refuses the names of properties that are no values.
func (f *expressFormat) accepts(key string) error {
	if slices.Contains([]string{expressCookie, expressMeta, f.cfg.UserKey}, key) || key == f.cfg.AuthenticatedKey && key != "" {
		return fmt.Errorf("session: the key %q has another meaning in Express sessions", key)
	}
	return nil
}

// userValue keeps the type that Node gave to the ID.
func (f *expressFormat) userValue(r *record) []byte {
	if r.foreign != nil && userText(r.foreign.user) == r.User {
		return r.foreign.user
	}
	if _, err := strconv.ParseInt(r.User, 10, 64); err == nil && f.cfg.NumericUserID {
		return []byte(r.User)
	}
	return quoted(r.User)
}

// quoted is a string in JSON.
func quoted(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // there is no such string
		return []byte(`""`)
	}
	return b
}

// cookieObject is the cookie property, with its end moved by the last use.
func (f *expressFormat) cookieObject(r *record) (json.RawMessage, error) {
	if r.foreign == nil {
		return f.newCookieObject(r)
	}
	var c expressCookieData
	if err := json.Unmarshal(r.foreign.cookie, &c); err != nil || c.OriginalMaxAge == nil || c.Expires == nil {
		return r.foreign.cookie, nil //nolint:nilerr // kept as it is
	}
	// Only this one value changes; all others stay as Node wrote them.
	end := f.expiry(r).UTC().Format(isoMillis)
	return bytes.Replace(r.foreign.cookie, quoted(*c.Expires), quoted(end), 1), nil
}

func (f *expressFormat) newCookieObject(r *record) (json.RawMessage, error) {
	cfg := &f.m.cfg
	type object struct {
		OriginalMaxAge *int64  `json:"originalMaxAge"`
		Expires        *string `json:"expires"`
		Secure         *bool   `json:"secure,omitempty"`
		HTTPOnly       bool    `json:"httpOnly"`
		Domain         string  `json:"domain,omitempty"`
		Path           string  `json:"path"`
		SameSite       string  `json:"sameSite,omitempty"`
	}
	o := object{HTTPOnly: true, Domain: cfg.Domain, Path: cfg.Path, SameSite: cfg.SameSite}
	if f.m.secure {
		o.Secure = new(true)
	}
	if f.cfg.MaxAge > 0 {
		o.OriginalMaxAge = new(f.cfg.MaxAge.Milliseconds())
		o.Expires = new(f.expiry(r).UTC().Format(isoMillis))
	}
	return json.Marshal(o)
}

// cookie gives the Set-Cookie the attributes that the record has.
func (f *expressFormat) cookie(r *record, c *http.Cookie) { //nolint:gosec // what Node wants of its cookie
	raw, err := f.cookieObject(r)
	var d expressCookieData
	if err != nil || json.Unmarshal(raw, &d) != nil {
		return
	}
	if d.Path != "" {
		c.Path = d.Path
	}
	c.Domain = d.Domain
	c.HttpOnly = d.HTTPOnly == nil || *d.HTTPOnly
	if secure, ok := d.Secure.(bool); ok && secure {
		c.Secure = true
	}
	switch d.SameSite {
	case "strict", true:
		c.SameSite = http.SameSiteStrictMode
	case "none":
		c.SameSite = http.SameSiteNoneMode
	case "lax":
		c.SameSite = http.SameSiteLaxMode
	}
	if d.Expires != nil {
		if at, err := time.Parse(time.RFC3339, *d.Expires); err == nil {
			c.Expires = at
		}
	}
}
