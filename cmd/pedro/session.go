package main

import (
	"log/slog"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

// examineSessions looks at what session would be told. It needs no server.
func examineSessions(r *report, o options, cache *rediscache.Cache) {
	cfg, err := session.ConfigFromEnv()
	if err != nil {
		r.refused(err)
		return
	}
	var client redis.UniversalClient
	if cache != nil {
		client = cache.Redis()
	}
	sessions, err := session.New(client, cfg, session.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		r.refused(err)
		return
	}
	defer func() {
		ctx, cancel := closing()
		defer cancel()
		_ = sessions.Stop(ctx) // nothing was saved
	}()
	var advice []string
	weak := false
	for _, a := range sessions.Advice() {
		switch {
		case strings.HasPrefix(a, "SESSION_SECRET"):
			weak = true
			says, change, _ := strings.Cut(a, ": ")
			r.problem("secret", says, change, "SESSION_SECRET")
		case cache == nil && strings.Contains(a, "in memory only"): // said already, of Redis
		default:
			advice = append(advice, a)
		}
	}
	switch {
	case len(cfg.Secrets) == 0 && o.instances > 1:
		r.problem("secret", "none: each instance makes one of its own and does not know the others' sessions", "set SESSION_SECRET to the output of openssl rand -hex 32", "SESSION_SECRET")
	case len(cfg.Secrets) == 0:
		r.note("secret", "none: a restart logs everybody out", "set SESSION_SECRET to the output of openssl rand -hex 32", "SESSION_SECRET")
	case !weak:
		r.ok("secret", "strong: %s", plural(len(cfg.Secrets), "secret"))
	}
	if cfg.Production {
		r.ok("cookie", "for HTTPS only (APP_ENV=production)")
	} else {
		r.note("cookie", "not confined to HTTPS: APP_ENV is not production", "set APP_ENV=production where it is", "APP_ENV")
	}
	r.advised(advice)
}
