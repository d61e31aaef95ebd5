package session

import (
	"context"
	"crypto/sha1" //nolint:gosec // what Redis names scripts by
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// A script is Lua that Redis runs in one step.
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // the name that Redis gives it, no protection
	return script{text: text, sha: hex.EncodeToString(sum[:])}
}

// eval runs a script by its hash, and by its text if Redis does not know it.
func (l *link) eval(ctx context.Context, s script, keys []string, args ...any) (any, error) {
	full := make([]any, 0, 3+len(keys)+len(args))
	full = append(full, "evalsha", s.sha, len(keys))
	for _, k := range keys {
		full = append(full, k)
	}
	full = append(full, args...)
	cmd := redis.NewCmd(ctx, full...)
	if err := l.do(ctx, cmd); err != nil {
		return nil, err
	}
	if err := cmd.Err(); err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		cmd = redis.NewCmd(ctx, append([]any{"eval", s.text}, full[2:]...)...)
		if err := l.do(ctx, cmd); err != nil {
			return nil, err
		}
	}
	switch err := cmd.Err(); {
	case err == nil, errors.Is(err, redis.Nil):
		return cmd.Val(), nil
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return nil, errCorrupt
	default:
		return nil, fmt.Errorf("script: %w", err)
	}
}
