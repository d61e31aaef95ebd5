package session

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/sessions"
	"github.com/rbcervilla/redisstore/v9"
	"github.com/redis/go-redis/v9"
)

// The Redis backend is redisstore, in a sandwich that closes its holes.
//
// Above, redisstore gets a made-up request and a session with our storage ID, so
// it never sees what a client sent; its own Set-Cookie goes nowhere.
//
// Below, it gets a client that carries out Set and Del differently: they share
// round trips and are bounded in time (link), Set compares before it writes, and
// Del tells what was there. What these need beside redisstore's
// arguments, and what they find out beside its results, travels in the
// context, which is an *op.
type redisBackend struct {
	link    *link
	store   *redisstore.RedisStore
	request *http.Request // copied for each call
	prefix  string
	channel string // announces changes to other processes
	// announceAll says that every change is announced, not only ends: for local
	// caches.
	announceAll bool
	self        string // who announces
	// split says that the IDs of a move may be on different nodes of a Cluster,
	// where no script reaches both.
	split bool
}

// cookieOfStore is the name under which redisstore finds the ID.
const cookieOfStore = "s"

// rawKey is where a session's bytes are in the Values of gorilla's session.
type rawKey struct{}

// The scripts. GET and what follows are one step for everybody else.
var (
	swapScript = newScript(`
local cur = redis.call('GET', KEYS[1])
if not cur then
	if ARGV[1] ~= '' then return 0 end
elseif ARGV[1] == '' or string.sub(cur, 1, #ARGV[1]) ~= ARGV[1] then
	return cur
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if ARGV[4] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return 1`)

	moveScript = newScript(`
local cur = redis.call('GET', KEYS[1])
if not cur then
	if redis.call('GET', KEYS[2]) == ARGV[2] then return 1 end
	return 0
end
if string.sub(cur, 1, #ARGV[1]) ~= ARGV[1] then return cur end
if redis.call('GET', KEYS[2]) then return 2 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if ARGV[6] == '' then redis.call('UNLINK', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[6], 'PX', ARGV[7]) end
if ARGV[4] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return 1`)

	// Who takes a key away leaves a receipt for a while: sent again because the
	// reply was lost, the script finds nothing else.
	takeScript = newScript(`
local cur = redis.call('GET', KEYS[1])
if not cur then
	if redis.call('GET', KEYS[2]) == ARGV[2] then return 1 end
	return 0
end
if string.sub(cur, 1, #ARGV[1]) ~= ARGV[1] then return cur end
redis.call('SET', KEYS[2], ARGV[2], 'PX', 60000)
redis.call('UNLINK', KEYS[1])
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
return 1`)

	dropScript = newScript(`
local cur = redis.call('GET', KEYS[1])
if not cur then return 0 end
redis.call('UNLINK', KEYS[1])
if ARGV[1] ~= '' then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return cur`)
)

func newRedisBackend(l *link, prefix, channel, self string, announceAll bool) (*redisBackend, error) {
	b := &redisBackend{link: l, prefix: prefix, channel: channel, announceAll: announceAll, self: self}
	store, err := redisstore.NewRedisStore(context.Background(), &decorated{UniversalClient: l.client, b: b})
	if err != nil {
		return nil, err
	}
	store.KeyPrefix(prefix)
	store.Serializer(rawSerializer{})
	store.KeyGen(func() (string, error) { return "", errors.New("session: a session without an ID") }) // never
	store.Options(sessions.Options{MaxAge: 1})                                                         // the real one is in the op
	b.store = store
	b.request = &http.Request{Method: http.MethodGet}
	return b, nil
}

// An op is one call of redisstore: its context, and what passes by it.
type op struct {
	context.Context //nolint:containedctx // it is one

	base, value []byte
	ttl         time.Duration
	move        *move
	id          ident

	raw  []byte // what Del found
	cur  []byte // what Set found instead of base
	gone bool   // what Set found: nothing
	// taken is what a move found under the new ID: something.
	taken bool
}

// session makes the request that redisstore is to see, and its session.
func (b *redisBackend) session(o *op) (*http.Request, *sessions.Session) {
	r := b.request.WithContext(o)
	s := sessions.NewSession(b.store, cookieOfStore)
	s.ID = o.id.sid
	s.Options.MaxAge = 1
	return r, s
}

// load is the one call that does not go through redisstore, which would make a
// request and a session of its own, in 20 allocations, to hand through what GET
// returns.
func (b *redisBackend) load(ctx context.Context, id ident) ([]byte, error) {
	cmd := redis.NewStringCmd(ctx, "get", b.prefix+id.sid)
	if err := b.link.do(ctx, cmd); err != nil {
		return nil, err
	}
	raw, err := cmd.Bytes()
	switch {
	case err == nil:
		return raw, nil
	case errors.Is(err, redis.Nil):
		return nil, errGone
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return nil, errCorrupt // somebody else's key
	default:
		return nil, err
	}
}

func (b *redisBackend) swap(ctx context.Context, id ident, base, next []byte, ttl time.Duration) ([]byte, error) {
	return b.save(&op{Context: ctx, id: id, base: base, value: next, ttl: ttl})
}

func (b *redisBackend) move(ctx context.Context, m *move) ([]byte, error) {
	if b.split {
		return b.moveApart(ctx, m)
	}
	return b.save(&op{Context: ctx, id: m.to, base: m.base, value: m.next, ttl: m.ttl, move: m})
}

// moveApart makes the new session, then ends the old one, and takes the first
// back if the second is not what it was.
func (b *redisBackend) moveApart(ctx context.Context, m *move) ([]byte, error) {
	switch cur, err := b.swap(ctx, m.to, nil, m.next, m.ttl); {
	case err != nil:
		return nil, errors.Join(errNotSaved, err)
	case cur != nil:
		return nil, errTaken
	}
	reply, err := b.link.take(ctx, b.prefix, m.from.sid, m.base, b.channel, goneMessage+b.self+m.from.sid)
	if reply == int64(1) && err == nil {
		return nil, nil
	}
	if _, e := b.drop(ctx, m.to); e != nil && !errors.Is(e, errGone) {
		err = errors.Join(err, e)
	}
	cur, ok := reply.(string)
	if !ok && err == nil {
		err = errGone
	}
	return []byte(cur), err
}

// take removes a key that begins with base, as one step even if it is sent
// twice, and announces that on a channel, "" for none. The reply is 1, or 0 if
// there is no such key, or what is there instead.
func (l *link) take(ctx context.Context, prefix, sid string, base []byte, channel, message string) (any, error) {
	key := prefix + sid
	receipt := prefix + "{" + key + "}:taken" // on the same node of a Cluster
	if strings.Contains(key, "{") {
		receipt = key + ":taken"
	}
	return l.eval(ctx, takeScript, []string{key, receipt}, base, rand.Text(), channel, message)
}

func (b *redisBackend) save(o *op) ([]byte, error) {
	r, s := b.session(o)
	s.Values[rawKey{}] = o.value
	if err := b.store.Save(r, nowhere{}, s); err != nil {
		return nil, err
	}
	switch {
	case o.gone:
		return nil, errGone
	case o.taken:
		return nil, errTaken
	}
	return o.cur, nil
}

func (b *redisBackend) drop(ctx context.Context, id ident) ([]byte, error) {
	o := &op{Context: ctx, id: id}
	r, s := b.session(o)
	s.Options.MaxAge = -1
	if err := b.store.Save(r, nowhere{}, s); err != nil {
		return nil, err
	}
	if o.raw == nil {
		return nil, errGone
	}
	return o.raw, nil
}

// decorated is what redisstore takes for its client.
type decorated struct {
	redis.UniversalClient
	b *redisBackend
}

// Ping answers without asking: New makes no network call.
func (*decorated) Ping(context.Context) *redis.StatusCmd { return redis.NewStatusResult("PONG", nil) }

// Set compares, and writes only in place of what was there.
func (d *decorated) Set(ctx context.Context, key string, _ any, _ time.Duration) *redis.StatusCmd {
	o, ok := ctx.(*op)
	if !ok {
		return redis.NewStatusResult("", errors.New("session: blind write refused"))
	}
	channel := ""
	if d.b.announceAll || o.move != nil {
		channel = d.b.channel
	}
	script, keys, own := swapScript, []string{key}, o.value
	args := []any{o.base, o.value, millis(o.ttl), channel, changedMessage + d.b.self + o.id.sid}
	if m := o.move; m != nil {
		script, keys, own = moveScript, []string{d.b.prefix + m.from.sid, key}, m.left
		args[4] = changedMessage + d.b.self + m.from.sid
		args = append(args, m.left, millis(m.leftTTL))
	}
	reply, err := d.b.link.eval(ctx, script, keys, args...)
	if err != nil {
		return redis.NewStatusResult("", err)
	}
	switch reply := reply.(type) {
	case int64:
		o.gone, o.taken = reply == 0, reply == 2
	case string:
		// If it is what we leave there, the reply to this very save was lost,
		// and the client has sent it again.
		if reply != string(own) {
			o.cur = []byte(reply)
		}
	}
	return redis.NewStatusResult("OK", nil)
}

// Del removes one key and keeps what was there.
func (d *decorated) Del(ctx context.Context, keys ...string) *redis.IntCmd {
	o, ok := ctx.(*op)
	if !ok || len(keys) != 1 {
		return redis.NewIntResult(0, errors.New("session: blind delete refused"))
	}
	reply, err := d.b.link.eval(ctx, dropScript, keys, d.b.channel, goneMessage+d.b.self+o.id.sid)
	if err != nil {
		return redis.NewIntResult(0, err)
	}
	if was, ok := reply.(string); ok {
		o.raw = []byte(was)
	}
	return redis.NewIntResult(1, nil)
}

func millis(d time.Duration) int64 { return max(1, d.Milliseconds()) }

// rawSerializer passes bytes through redisstore: encoding is done outside.
type rawSerializer struct{}

// Serialize returns the bytes of save.
func (rawSerializer) Serialize(s *sessions.Session) ([]byte, error) {
	raw, ok := s.Values[rawKey{}].([]byte)
	if !ok {
		return nil, errors.New("session: nothing to store")
	}
	return raw, nil
}

// Deserialize has nothing to do: the op has the bytes.
func (rawSerializer) Deserialize([]byte, *sessions.Session) error { return nil }

// nowhere is the response that redisstore sets its cookie on.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) WriteHeader(int)             {}

// The messages between processes: what happened, who says so, and to which
// session.
const (
	changedMessage = "c"
	goneMessage    = "d"
	epochMessage   = "e"
)
