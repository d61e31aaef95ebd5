package session

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// The index is a hash in Redis for each user, under a keyed hash of the user's
// ID. A field is a storage ID; its value is when the session expires, when it
// began, and an encrypted ident, with which the session can be read. The field
// "#" changes with every RevokeUser, and begins with the time of it: a login that
// is under way does not survive one, nor does one made before of which Redis hears
// later.
//
// It cleans itself: logins remove what has expired whenever the hash has
// doubled, each listing what is gone, and the whole expires with its last
// session.
type index struct {
	link   *link
	prefix string
	ring   []*keys
	max    int
}

// A fence is what a login saw when it began.
type fence struct {
	generation string
	epoch      int64
	any        bool  // the generation is not known
	at         int64 // then no revocation may be later than this, in ms; 0: any may
}

var (
	// The whole hash is only looked at when it has doubled since the last time,
	// or holds more than a user may have: a login must not cost more the more
	// sessions there are. "#n" is the size from which on it is.
	enlistScript = newScript(`
local generation, at = redis.call('HGET', KEYS[1], '#') or '', tonumber(ARGV[6])
if ARGV[1] == '*' then
	if at > 0 and at < (tonumber(string.match(generation, '^(%d+)%.')) or 0) then return 'fenced' end
elseif generation ~= ARGV[1] then return 'fenced' end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
local now, max = tonumber(ARGV[4]), tonumber(ARGV[5])
local last = tonumber(string.match(ARGV[3], '^%d+')) + 60000
if redis.call('PTTL', KEYS[1]) < last - now then redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last)) end
local most = tonumber(redis.call('HGET', KEYS[1], '#n')) or 32
if max > 0 then most = math.min(most, max) end
if redis.call('HLEN', KEYS[1]) <= most then return {} end
local all, left, evicted = redis.call('HGETALL', KEYS[1]), {}, {}
for i = 1, #all, 2 do
	local expiry, born = string.match(all[i+1], '^(%d+)|(%d+)|')
	if all[i] ~= '#' and all[i] ~= '#n' then
		expiry, born = tonumber(expiry), tonumber(born)
		if not expiry or expiry <= now then
			redis.call('HDEL', KEYS[1], all[i])
		else
			table.insert(left, {all[i], born})
		end
	end
end
if max > 0 and #left > max then
	table.sort(left, function(a, b) if a[2] == b[2] then return b[1] == ARGV[2] end return a[2] < b[2] end)
	for i = 1, #left - max do
		table.insert(evicted, left[i][1])
		redis.call('HDEL', KEYS[1], left[i][1])
	end
end
redis.call('HSET', KEYS[1], '#n', math.max(32, 2 * #left))
return evicted`)

	revokeScript = newScript(`
local all = redis.call('HGETALL', KEYS[1])
local keep, out = {}, {}
for i = 4, #ARGV do keep[ARGV[i]] = true end
for i = 1, #all, 2 do
	if all[i] ~= '#' and all[i] ~= '#n' and not keep[all[i]] then
		table.insert(out, all[i])
		table.insert(out, all[i+1])
	end
end
local last = string.match(redis.call('HGET', KEYS[1], '#') or '', '^(%d+)%.')
if last and tonumber(last) > tonumber(ARGV[3]) then ARGV[3] = last end
redis.call('HSET', KEYS[1], '#', ARGV[3] .. '.' .. ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return out`)
)

// key is where a user's sessions are listed by this secret.
func (x *index) key(k *keys, user string) string { return x.prefix + k.userKey(user) }

// fence looks at the generation of a user before a login.
func (x *index) fence(ctx context.Context, user string) (fence, error) {
	cmd := redis.NewStringCmd(ctx, "hget", x.key(x.ring[0], user), "#")
	if err := x.link.do(ctx, cmd); err != nil {
		return fence{}, err
	}
	return fence{generation: cmd.Val()}, nil
}

// add lists a session and returns those that are one too many. It returns
// ErrEnded if the user was revoked since the fence.
func (x *index) add(ctx context.Context, user string, id ident, r *record, expiry time.Time, f fence) ([]string, error) {
	value, err := x.seal(user, id, r, expiry)
	if err != nil {
		return nil, err
	}
	generation := f.generation
	if f.any {
		generation = "*"
	}
	reply, err := x.link.eval(ctx, enlistScript, []string{x.key(x.ring[0], user)}, generation, id.sid, value, time.Now().UnixMilli(), x.max, f.at)
	if err != nil {
		return nil, err
	}
	if reply == "fenced" {
		return nil, fmt.Errorf("%w: revoked during the login", ErrEnded)
	}
	return texts(reply), nil
}

func (x *index) remove(ctx context.Context, user, sid string) error {
	for _, k := range x.ring {
		if err := x.link.do(ctx, redis.NewIntCmd(ctx, "hdel", x.key(k, user), sid)); err != nil {
			return err
		}
	}
	return nil
}

// all returns the sessions of a user that are listed.
func (x *index) all(ctx context.Context, user string) ([]ident, error) {
	var out []ident
	for _, k := range x.ring {
		cmd := redis.NewMapStringStringCmd(ctx, "hgetall", x.key(k, user))
		if err := x.link.do(ctx, cmd); err != nil {
			return nil, err
		}
		for sid, value := range cmd.Val() {
			if id, ok := x.open(user, sid, value); ok {
				out = append(out, id)
			}
		}
	}
	return out, nil
}

// fenceOff makes every login fail that is under way or was made before at, in
// ms, and returns the sessions listed, but those to keep.
func (x *index) fenceOff(ctx context.Context, user string, at int64, lifetime time.Duration, keep []string) ([]ident, error) {
	var out []ident
	for _, k := range x.ring {
		args := []any{randomSecret()[:16], millis(lifetime), at}
		for _, sid := range keep {
			args = append(args, sid)
		}
		reply, err := x.link.eval(ctx, revokeScript, []string{x.key(k, user)}, args...)
		if err != nil {
			return nil, err
		}
		pairs := texts(reply)
		for i := 0; i+1 < len(pairs); i += 2 {
			if id, ok := x.open(user, pairs[i], pairs[i+1]); ok {
				out = append(out, id)
			}
		}
	}
	return out, nil
}

// listed is what the index hides.
type listed struct {
	Token string `json:"t"`
}

func (x *index) seal(user string, id ident, r *record, expiry time.Time) (string, error) {
	plain, err := json.Marshal(listed{Token: id.token})
	if err != nil {
		return "", err
	}
	sealed, err := x.ring[0].sealBytes(plain, "user "+user, id.sid)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(expiry.UnixMilli(), 10) + "|" + strconv.FormatInt(max(r.AuthTime, r.Created), 10) + "|" + string(sealed), nil
}

func (x *index) open(user, sid, value string) (ident, bool) {
	parts := strings.SplitN(value, "|", 3)
	if sid == "#" || len(parts) != 3 {
		return ident{}, false
	}
	plain, _, err := openBytes(x.ring, []byte(parts[2]), "user "+user, sid)
	if err != nil {
		return ident{}, false
	}
	var l listed
	if json.Unmarshal(plain, &l) != nil {
		return ident{}, false
	}
	return ident{token: l.Token, sid: sid}, true
}

// texts are the strings of a reply.
func texts(reply any) []string {
	list, _ := reply.([]any)
	out := make([]string, 0, len(list))
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
