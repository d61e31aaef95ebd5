package main

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		ahead, roundTrip time.Duration
		want             status
	}{
		"right":                       {time.Millisecond, 2 * time.Millisecond, ok},
		"ahead":                       {5 * time.Second, time.Millisecond, problem},
		"behind":                      {-5 * time.Second, time.Millisecond, problem},
		"slow server, cannot be told": {3 * time.Second, 6 * time.Second, ok},
	} {
		var r report
		reportClock(&r, now, now.Add(c.roundTrip/2+c.ahead), now.Add(c.roundTrip))
		if got := r.Findings[0].Status; got != c.want {
			t.Errorf("%s: got %s (%s), want %s", name, got, r.Findings[0].Found, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"DB_POLL_MAX": "DB_POOL_MAX", "DATABASE_URI": "DATABASE_URL", "REDIS_PASS": "", "SESSION_SECRETS": "SESSION_SECRET",
		"DB_HOST": "", "PATH": "", "SUPABASE_ANON_KEY": "", "SUPABASE_URLS": "SUPABASE_URL",
	} {
		if got := nearest(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, value, want string
	}{
		{"SESSION_SECRET", "a,b", "[hidden, 2 of them]"},
		{"REDIS_PASSWORD", "x", "[hidden]"},
		{"REDIS_HOST", "redis.internal", "redis.internal"},
		{"REDIS_HOST", "redis://:x@h:1", "redis://h:1"},
		{"REDIS_HOST", "host=h password=x", "[hidden]"},
		{"DB_POOL_MAX", "20", "20"},
		{"DB_POOL_MAX", "x", "[hidden: it does not look right]"},
		{"DB_IDLE_TIMEOUT", "30s", "30s"},
		{"REDIS_TLS", "yes?", "[hidden: it does not look right]"},
		{"APP_NAME", "a\x1b[31mb", "a?[31mb"},
		{"DB_REPLICA_URLS", "postgres://u:x@a/d,postgres://u:x@b/d", "postgres://a/d,postgres://b/d"},
	} {
		if got := variables[c.name].shown(c.value); got != c.want {
			t.Errorf("%s=%q: got %q, want %q", c.name, c.value, got, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]finding{
		"x: invalid config: A_B: must be 1": {{Check: "settings", Status: problem, Found: "A_B must be 1", Variables: []string{"A_B"}}},
		"x: invalid config:\n\tA: wrong\n\tB, C: contradict: one of them": {
			{Check: "settings", Status: problem, Found: "A wrong", Variables: []string{"A"}},
			{Check: "settings", Status: problem, Found: "B, C contradict: one of them", Variables: []string{"B", "C"}},
		},
		"something else": {{Check: "settings", Status: problem, Found: "something else"}},
	} {
		var r report
		r.refused(errors.New(text))
		if !reflect.DeepEqual(r.Findings, want) {
			t.Errorf("%q: got %+v, want %+v", text, r.Findings, want)
		}
	}
}
