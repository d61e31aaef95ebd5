package rediscache_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// leastPrivilege returns the rules that SECURITY.md gives a user of this name:
// the document and the test cannot differ.
func leastPrivilege(tb testing.TB, user string) []string {
	tb.Helper()
	text, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		tb.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ACL SETUSER ` + user + ` on >PASSWORD (.+)$`).FindStringSubmatch(string(text))
	if line == nil {
		tb.Fatalf("SECURITY.md has no ACL line of the user %s", user)
	}
	return strings.Fields(line[1])
}

// as gives a user these rules and returns its URL.
func as(tb testing.TB, server *devservices.Redis, user string, rules []string) string {
	tb.Helper()
	if _, err := server.Do(tb.Context(), append([]string{"ACL", "SETUSER", user, "reset", "on", ">pw"}, rules...)...); err != nil {
		tb.Fatal(err)
	}
	return "redis://" + user + ":pw@" + server.Addr()
}

// TestLeastPrivilege: everything works with the rights that SECURITY.md names,
// and nothing was even tried beyond them.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	server := rediscachetest.StartServer(t)
	url := as(t, server, "cache", leastPrivilege(t, "cache"))
	c := open(t, rediscache.Config{URL: url, Required: true})
	if err := everything(t, c); err != nil {
		t.Error(err)
	}
	other := open(t, rediscache.Config{URL: url, Required: true})
	mine, theirs := rediscache.Of[user](c, "user", rediscache.Near(10)), rediscache.Of[user](other, "user", rediscache.Near(10))
	eventually(t, "both hear invalidations", func() bool { return c.Stats().Coherent && other.Stats().Coherent })
	if err := mine.Set(t.Context(), "7", user{Name: "old"}); err != nil {
		t.Fatal(err)
	}
	if got, err := theirs.Get(t.Context(), "7"); err != nil || got.Name != "old" {
		t.Fatalf("Get = %v, %v", got, err)
	}
	if err := mine.Set(t.Context(), "7", user{Name: "new"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other's near cache is told", func() bool {
		got, err := theirs.Get(t.Context(), "7")
		return err == nil && got.Name == "new"
	})
	if err := c.Set(t.Context(), "elsewhere:1", 1, 0); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("a key outside of the patterns: %v, want NOPERM", err)
	}
	eventually(t, "the watch has looked", func() bool { return c.Stats().Memory.Known })
	denied(t, server, "elsewhere:1")
}

// denied fails the test for each entry of the server's ACL log, but those
// about the objects that are expected.
func denied(t *testing.T, server *devservices.Redis, expected ...string) {
	t.Helper()
	reply, err := server.Do(t.Context(), "ACL", "LOG")
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := reply.([]any)
	for _, e := range entries {
		fields, _ := e.([]any)
		m := map[string]string{}
		for i := 0; i+1 < len(fields); i += 2 {
			m[fmt.Sprint(fields[i])] = fmt.Sprint(fields[i+1])
		}
		if !slices.Contains(expected, m["object"]) {
			t.Errorf("denied: %s %s", m["reason"], m["object"])
		}
	}
}

// everything uses all that a cache can do, and returns the first error.
func everything(t *testing.T, c *rediscache.Cache) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	users := rediscache.Of[user](c, "user", rediscache.Near(10), rediscache.TTL(time.Minute))
	load := func(_ context.Context, key string) (user, error) { return user{Name: key}, nil }
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"ping", func() error { return c.Ping(ctx) }},
		{"set", func() error { return users.Set(ctx, "1", user{Name: "a"}, rediscache.Tags("red")) }},
		{"get", func() error { _, err := rediscache.Of[user](c, "user").Get(ctx, "1"); return err }},
		{"many", func() error {
			if err := users.SetMany(ctx, map[string]user{"2": {Name: "b"}, "3": {Name: "c"}}); err != nil {
				return err
			}
			_, err := rediscache.Of[user](c, "user").GetMany(ctx, []string{"1", "2", "3"})
			return err
		}},
		{"load", func() error { _, err := users.Load(ctx, "4", load); return err }},
		{"load exclusively", func() error {
			_, err := users.Load(ctx, "5", load, rediscache.Exclusive())
			return err
		}},
		{"del", func() error { return users.Del(ctx, "1", "2") }},
		{"tags", func() error { return users.DelTags(ctx, "red") }},
		{"clear", func() error { return users.Clear(ctx) }},
		{"ad hoc", func() error {
			if err := c.Set(ctx, "user:adhoc", 1, time.Minute); err != nil {
				return err
			}
			var n int
			if err := c.Get(ctx, "user:adhoc", &n); err != nil {
				return err
			}
			_, err := c.Del(ctx, "user:adhoc")
			return err
		}},
		{"clear a pattern", func() error { _, err := c.ClearPattern(ctx, "user:*"); return err }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// TestMissingRight: without one of the rights something says so, or goes
// another way; nothing hangs.
func TestMissingRight(t *testing.T) {
	t.Parallel()
	rules := leastPrivilege(t, "cache")
	// What is done without: tracking has a substitute, the memory is then not
	// known, the lifetime of a tag not prolonged, and a lease not given back or
	// renewed, but runs out.
	tolerated := []string{"+client|tracking", "+info", "+pexpire", "+persist", "+subscribe", "+publish", "+del", "+eval", "+evalsha"}
	for i, rule := range rules {
		if rule[0] != '+' {
			continue
		}
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			server := rediscachetest.StartServer(t)
			less := slices.Delete(slices.Clone(rules), i, i+1)
			began := time.Now()
			c, err := rediscache.New(rediscache.Config{URL: as(t, server, "less", less), Required: true, Timeout: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Stop(context.Background())
			if err = c.Start(t.Context()); err == nil {
				err = everything(t, c)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("without %s: %v only after %v", rule, err, took)
			}
			switch {
			case slices.Contains(tolerated, rule) && err != nil:
				t.Errorf("without %s: %v, want it done without", rule, err)
			case !slices.Contains(tolerated, rule) && (err == nil || !strings.Contains(err.Error(), "NOPERM")):
				t.Errorf("without %s: %v, want an error that says NOPERM", rule, err)
			}
		})
	}
}
