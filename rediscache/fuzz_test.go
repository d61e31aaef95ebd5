package rediscache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// Whatever is stored under a key, reading it neither panics nor fails.
func FuzzStored(f *testing.F) {
	c, err := rediscache.New(rediscache.Config{MaxValueBytes: 1 << 16, MaxReplyBytes: 1 << 16})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Stop(f.Context()) })
	users := rediscache.Of[user](c, "user")
	f.Add([]byte("\x01\x00\x00idididididgenerat\x80\x01\x00\x00{}"))
	f.Add([]byte("\x01\x04\x00idididididgenerat\x80\x01\x00\x00\xff\xff\xff\xff\x0f"))
	f.Add([]byte("\x01\x08\x00idididididgenerat\x80\x01\x00\x01\x03redversion1"))
	f.Add([]byte(`{"ID":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rediscache.Decode(users, data)
		// What parses is what was written: written again it parses the same.
		if again := rediscache.Reencode(data); again != nil && !bytes.Equal(rediscache.Reencode(again), again) {
			t.Errorf("%x parses, but written again is not stable", data)
		}
	})
}

// Whatever a server sends, the guard and the reader neither panic nor take
// memory for what did not arrive, and pieces make no difference.
func FuzzReplies(f *testing.F) {
	for _, s := range []string{
		"+OK\r\n", "$3\r\nabc\r\n", "*2\r\n$1\r\na\r\n$-1\r\n", ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
		"%1\r\n+a\r\n:1\r\n", "$99999999999\r\n", "*-1\r\n", "|1\r\n+a\r\n+b\r\n:3\r\n", "_\r\n", "!3\r\nERR\r\n",
	} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		const limit = 1 << 16
		whole, pieces := rediscache.ScanReplies(data, len(data), limit), rediscache.ScanReplies(data, piece&15, limit)
		if fmt.Sprint(whole) != fmt.Sprint(pieces) {
			t.Errorf("in one piece: %v; in pieces: %v", whole, pieces)
		}
		if _, err := rediscache.ReadReplies(data, limit); err == nil {
			t.Error("replies without an end")
		} else if whole != nil && errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && errors.Is(whole, rediscache.ErrTooLarge) {
			// The reader may stop before the guard would have.
			_ = err
		}
		if values, ok := rediscache.SplitMGet(data); ok {
			n := 0
			for _, v := range values {
				n += len(v)
			}
			if n > len(data) {
				t.Errorf("%d bytes of values from %d", n, len(data))
			}
		}
	})
}

// Any key that is accepted holds its value, and no other key's.
func FuzzKeys(f *testing.F) {
	c := open(f, rediscache.Config{URL: rediscachetest.Start(f), Required: true})
	n := rediscache.Of[string](c, "n", rediscache.Near(100))
	f.Add("k", "v")
	f.Add("{a}b", "")
	f.Add("\x00\r\n*1\r\n", "\xff")
	f.Add("", "v")
	f.Fuzz(func(t *testing.T, key, value string) {
		ctx := t.Context()
		value = strings.ToValidUTF8(value, "?") // JSON's own rule
		if err := n.Set(ctx, key, value); err != nil {
			if key != "" {
				t.Fatalf("Set(%q) = %v", key, err)
			}
			return
		}
		if got, err := n.Get(ctx, key); err != nil || got != value {
			t.Errorf("Get(%q) = %q and %v, want %q", key, got, err, value)
		}
		if _, err := n.Get(ctx, key+"x"); !errors.Is(err, rediscache.ErrNotFound) {
			t.Errorf("Get(%q) = %v, want ErrNotFound", key+"x", err)
		}
		if err := n.Del(ctx, key); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Get(ctx, key); !errors.Is(err, rediscache.ErrNotFound) {
			t.Errorf("Get(%q) after Del = %v, want ErrNotFound", key, err)
		}
	})
}

// ClearPattern deletes what KEYS lists, for any pattern.
func FuzzPatterns(f *testing.F) {
	c := open(f, rediscache.Config{URL: rediscachetest.Start(f), Required: true})
	for _, p := range []string{"*", "user:*", "user:?", "[a-z]*", "[^a]*", "\\*", "{*}", "[", "\\", "a\x00*", ""} {
		f.Add(p)
	}
	keys := []string{"user:1", "user:22", "a", "b", "*", "{x}", "[", "\\", "a\x00b", "user"}
	f.Fuzz(func(t *testing.T, pattern string) {
		ctx := t.Context()
		for _, key := range keys {
			if err := c.Set(ctx, key, 1, 0); err != nil {
				t.Fatal(err)
			}
		}
		n, err := c.ClearPattern(ctx, pattern)
		if pattern == "" {
			if err == nil {
				t.Error("an empty pattern is accepted")
			}
			return
		}
		if err != nil {
			t.Fatalf("ClearPattern(%q) = %v", pattern, err)
		}
		left := 0
		for _, key := range keys {
			if c.Redis().Exists(ctx, key).Val() == 1 {
				left++
			}
		}
		if match := c.Redis().Keys(ctx, pattern).Val(); len(match) != 0 {
			t.Errorf("ClearPattern(%q) left %q", pattern, match)
		}
		if left+int(n) != len(keys) {
			t.Errorf("ClearPattern(%q) = %d of %d, but %d are left", pattern, n, len(keys), left)
		}
	})
}

// No malformed REDIS_URL shows its password.
func FuzzURL(f *testing.F) {
	f.Add("redis://u:", "@h:1/0")
	f.Add("redis://u:", "@h:port")
	f.Add("rediss://:", "#@h")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "c4n4ryc4n4ry"
		c, err := rediscache.New(rediscache.Config{URL: before + secret + after})
		if err == nil {
			if strings.Contains(c.Config().String(), secret) && strings.Contains(before, ":") && strings.Contains(after, "@") {
				t.Errorf("Config().String() shows the password: %s", c.Config())
			}
			if err := c.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			return
		}
		if !errors.Is(err, rediscache.ErrInvalidConfig) {
			t.Errorf("New = %v, want ErrInvalidConfig", err)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows it: %v", err)
		}
	})
}
