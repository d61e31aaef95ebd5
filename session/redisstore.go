package session

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/redis/go-redis/v9"
)

// RedisstoreConfig says where plain redisstore kept its sessions.
type RedisstoreConfig struct {
	// Name is the cookie's: the name given to gorilla's Get.
	Name string
	// KeyPrefix is the store's. The default is redisstore's, "session:".
	KeyPrefix string
	// UserKey is the key in Values of the user's ID. Such a session is a logged
	// in one here. Empty: none is.
	UserKey string
}

// WithRedisstoreRecords lets a service move over from plain
// rbcervilla/redisstore (with its gob serializer) while it runs: a client that
// shows one of its cookies gets a session of ours with the same values, once,
// and the old record is removed. Values become JSON; their keys must be strings.
//
// Redisstore's cookie is the bare ID, so while this option is set a forged
// cookie of that form costs three Redis commands. Remove the option when the old
// sessions would have expired.
func WithRedisstoreRecords(cfg RedisstoreConfig) Option {
	return func(o *options) {
		if cfg.KeyPrefix == "" {
			cfg.KeyPrefix = "session:"
		}
		o.imports = &cfg
	}
}

// redisstoreID is the length of redisstore's IDs: 64 bytes in base32.
const redisstoreID = 103

// importLegacy takes over the session of a cookie of plain redisstore, if the
// request has no other. The caller holds s.mu.
func (s *Session) importLegacy() {
	cfg := s.m.opts.imports
	if cfg == nil || s.m.link == nil || s.base != nil || s.err != nil || s.over {
		return
	}
	for _, c := range s.r.CookiesNamed(cfg.Name) {
		if len(c.Value) != redisstoreID || strings.Trim(c.Value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
			continue
		}
		ctx := context.WithoutCancel(s.r.Context())
		err := s.importOne(ctx, cfg, c.Value)
		if err != nil && !errors.Is(err, errGone) && !errors.Is(err, ErrEnded) {
			s.err = unavailable(err)
		}
		return
	}
}

// importOne makes a session of a redisstore record. The new token is derived
// from the old ID, so that parallel requests come to the same session.
func (s *Session) importOne(ctx context.Context, cfg *RedisstoreConfig, old string) error {
	id := identOf(b64.EncodeToString(hmacSum(s.m.ring[0].seal, "redisstore "+old)))
	if s.find(id, false) && s.base != nil {
		s.cookie = cookieSet
		return nil
	}
	if s.err != nil {
		return s.err
	}
	get := redis.NewStringCmd(ctx, "get", cfg.KeyPrefix+old)
	if err := s.m.link.do(ctx, get); err != nil {
		return err
	}
	raw, err := get.Bytes()
	if err != nil { // perhaps a parallel request has just taken it over
		if !s.find(id, false) || s.base == nil {
			return errGone
		}
		s.cookie = cookieSet
		return nil
	}
	r, err := s.m.fromRedisstore(s, cfg, raw)
	if err != nil {
		s.m.rejected(s, ReasonUndecodable, "")
		return errGone
	}
	err = s.m.store.create(ctx, id, r)
	if errors.Is(err, errNotSaved) { // a parallel request was faster
		if !s.find(id, false) {
			return errGone
		}
		s.cookie = cookieSet
		return nil
	}
	if err != nil {
		return err
	}
	taken, err := s.m.link.take(ctx, cfg.KeyPrefix, old, nil, "", "")
	if err != nil {
		_, _ = s.m.store.drop(ctx, id) // or a logout would bring it back
		return err
	}
	if taken != int64(1) { // a parallel request took it over and ended it already
		_, _ = s.m.store.drop(ctx, id)
		return errGone
	}
	s.id, s.base, s.err, s.cookie = id, r, nil, cookieSet
	if r.User != "" {
		if err := s.m.enlist(ctx, id, r, fence{any: true}); err != nil {
			return err
		}
	}
	s.m.created(s, r)
	return nil
}

// fromRedisstore translates a record.
func (m *Manager) fromRedisstore(s *Session, cfg *RedisstoreConfig, raw []byte) (*record, error) {
	var values map[any]any
	if err := gob.NewDecoder(bytes.NewReader(raw)).Decode(&values); err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	r := m.newRecord(s)
	r.Values = map[string]json.RawMessage{}
	for k, v := range values {
		key, ok := k.(string)
		if !ok {
			continue
		}
		if key == cfg.UserKey && key != "" {
			r.User = fmt.Sprint(v)
			continue
		}
		if b, err := json.Marshal(v); err == nil {
			r.Values[key] = b
		}
	}
	return r, nil
}

var _ http.ResponseWriter = nowhere{}
