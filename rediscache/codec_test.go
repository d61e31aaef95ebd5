package rediscache_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pedro-go/pedro/rediscache"
)

func gobMarshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func gobUnmarshal(data []byte, dst any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(dst)
}

// message is shaped like protobuf's: an interface that pointers implement.
type message interface{ text() *string }

type note struct{ Text string }

func (n *note) text() *string { return &n.Text }

func TestCodecs(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	structs := rediscache.Of[user](c, "gob", rediscache.WithCodec(rediscache.Encoding("gob", gobMarshal, gobUnmarshal)))
	if err := structs.Set(ctx, "1", user{ID: 1, Name: "Ana"}); err != nil {
		t.Fatal(err)
	}
	if u, err := structs.Get(ctx, "1"); err != nil || u.Name != "Ana" {
		t.Errorf("Encoding: %v and %v", u, err)
	}

	messages := rediscache.Of[*note](c, "msg", rediscache.WithCodec(rediscache.Message("notes",
		func(m message) ([]byte, error) { return []byte(*m.text()), nil },
		func(data []byte, m message) error { *m.text() = string(data); return nil })))
	if err := messages.Set(ctx, "1", &note{Text: "hi"}); err != nil {
		t.Fatal(err)
	}
	if m, err := messages.Get(ctx, "1"); err != nil || m.Text != "hi" {
		t.Errorf("Message: %v and %v", m, err)
	}

	raw := rediscache.Of[[]byte](c, "raw", rediscache.WithCodec(rediscache.Raw))
	if err := raw.Set(ctx, "1", []byte{0, 1, 2}); err != nil {
		t.Fatal(err)
	}
	if b, err := raw.Get(ctx, "1"); err != nil || !bytes.Equal(b, []byte{0, 1, 2}) {
		t.Errorf("Raw: %v and %v", b, err)
	}
	texts := rediscache.Of[string](c, "raw", rediscache.WithCodec(rediscache.Raw))
	if s, err := texts.Get(ctx, "1"); err != nil || s != "\x00\x01\x02" {
		t.Errorf("Raw as string: %q and %v", s, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Of takes Raw for a struct")
		}
	}()
	rediscache.Of[user](c, "raw", rediscache.WithCodec(rediscache.Raw))
}

// What cannot be decoded is a miss and a count, and the next load mends it.
func TestUndecodable(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	n := rediscache.Of[user](c, "user")
	other := rediscache.Of[user](c, "user", rediscache.WithCodec(rediscache.Encoding("gob", gobMarshal, gobUnmarshal)))
	if err := other.Set(ctx, "gob", user{ID: 1}); err != nil {
		t.Fatal(err)
	}
	if err := n.Set(ctx, "cut", user{ID: 1}); err != nil {
		t.Fatal(err)
	}
	whole := c.Redis().Get(ctx, "user:cut").Val()
	bad := map[string]string{
		"json": `{"ID":1}`, "empty": "", "cut": whole[:len(whole)-3], "header": whole[:12],
		"future": "\x02" + whole[1:], "flags": whole[:1] + "\xff" + whole[2:],
	}
	for key, value := range bad {
		c.Redis().Set(ctx, "user:"+key, value, 0)
	}
	bad["gob"] = ""
	c.Redis().LPush(ctx, "user:list", 1)
	for key := range bad {
		if _, err := n.Get(ctx, key); !errors.Is(err, rediscache.ErrNotFound) {
			t.Errorf("Get(%s) = %v, want ErrNotFound", key, err)
		}
	}
	if got := n.Stats().Undecodable; got != uint64(len(bad)) {
		t.Errorf("Undecodable = %d, want %d", got, len(bad))
	}
	for key := range bad {
		if _, err := n.Load(ctx, key, func(ctx ctxType, _ string) (user, error) { return user{ID: 9}, nil }); err != nil {
			t.Errorf("Load(%s) = %v", key, err)
		}
		if u, err := n.Get(ctx, key); err != nil || u.ID != 9 {
			t.Errorf("Get(%s) after Load = %v and %v, want it mended", key, u, err)
		}
	}
	if u, err := n.Load(ctx, "list", func(ctx ctxType, _ string) (user, error) { return user{ID: 9}, nil }); err != nil || u.ID != 9 {
		t.Errorf("Load of a key of another type = %v and %v, want the loader's", u, err)
	}
}

func TestCompress(t *testing.T) {
	t.Parallel()
	c, ctx := fresh(t), t.Context()
	text := strings.Repeat("compressible ", 1_000)
	noise := make([]byte, 5_000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for name, how := range map[string]rediscache.Compression{"s2": rediscache.S2, "zstd": rediscache.Zstd, "none": rediscache.NoCompression} {
		n := rediscache.Of[string](c, name, rediscache.WithCodec(rediscache.Raw), rediscache.Compress(how, 0))
		for key, value := range map[string]string{"text": text, "small": "x", "noise": string(noise)} {
			if err := n.Set(ctx, key, value); err != nil {
				t.Fatal(err)
			}
			if got, err := n.Get(ctx, key); err != nil || got != value {
				t.Errorf("%s: Get(%s) differs: %d bytes and %v", name, key, len(got), err)
			}
		}
		stored := c.Redis().StrLen(ctx, name+":text").Val()
		if small := stored < 2_000; small != (how != rediscache.NoCompression) {
			t.Errorf("%s: %d bytes stored for %d", name, stored, len(text))
		}
	}
	// Few bytes that claim to be many must not take memory.
	small := rediscache.Of[string](c, "s2", rediscache.WithCodec(rediscache.Raw))
	stored := c.Redis().Get(ctx, "s2:text").Val()
	at := strings.Index(stored, "compressible") - 6
	for i := max(at, 20); i < at+6; i++ {
		bomb := stored[:i] + "\xff\xff\xff\xff\x0f" + stored[i:]
		c.Redis().Set(ctx, "s2:bomb", bomb, 0)
		if _, err := small.Get(ctx, "bomb"); err != nil && !errors.Is(err, rediscache.ErrNotFound) {
			t.Errorf("Get of a bomb = %v, want a miss", err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	url := fresh(t).Config().URL
	c := open(t, rediscache.Config{URL: url, Required: true, MaxValueBytes: 1_000})
	n := rediscache.Of[string](c, "n", rediscache.WithCodec(rediscache.Raw), rediscache.Compress(rediscache.NoCompression, 0))
	big := strings.Repeat("x", 1_000)
	for name, err := range map[string]error{
		"Set":       n.Set(t.Context(), "k", big),
		"SetMany":   n.SetMany(t.Context(), map[string]string{"k": big}),
		"ad hoc":    c.Set(t.Context(), "k", big, 0),
		"tags":      n.Set(t.Context(), "k", "", rediscache.Tags(make([]string, 65)...)),
		"long key":  n.Set(t.Context(), strings.Repeat("k", 1<<20), ""),
		"long key2": n.Del(t.Context(), strings.Repeat("k", 1<<20)),
	} {
		if !errors.Is(err, rediscache.ErrTooLarge) {
			t.Errorf("%s = %v, want ErrTooLarge", name, err)
		}
	}
	if u, err := n.Load(t.Context(), "k", func(ctxType, string) (string, error) { return big, nil }); err != nil || u != big {
		t.Errorf("Load of what is too large to store = %d bytes and %v, want it", len(u), err)
	}
	if fmt.Sprint(n.Stats().Errors) == "0" {
		t.Error("a value that could not be stored was not counted")
	}
}

type ctxType = context.Context
