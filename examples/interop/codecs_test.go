package interop_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// TestCodecs: msgpack, CBOR and protobuf as the codec of a namespace; what one
// process stores another one reads, small and compressed, and a value of another
// codec is a miss.
func TestCodecs(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	writer, reader := openCache(t, url), openCache(t, url)
	type note struct {
		Patient int64
		Text    string
		Written time.Time
		Tags    map[string][]byte
	}
	notes := func(cache *rediscache.Cache, codec rediscache.Codec) *rediscache.Namespace[note] {
		return rediscache.Of[note](cache, "note", rediscache.WithCodec(codec))
	}
	codecs := map[string]rediscache.Codec{
		"msgpack": rediscache.Encoding("msgpack", msgpack.Marshal, msgpack.Unmarshal),
		"cbor":    rediscache.Encoding("cbor", cbor.Marshal, cbor.Unmarshal),
	}
	for name, codec := range codecs {
		for size, text := range map[string]string{"small": "fine", "large": strings.Repeat("fine ", 10_000)} {
			want := note{Patient: 7, Text: text, Written: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Tags: map[string][]byte{"a": {0, 255}}}
			if err := notes(writer, codec).Set(t.Context(), size, want); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := notes(reader, codec).Get(t.Context(), size)
			if err != nil || got.Patient != want.Patient || got.Text != want.Text || !got.Written.Equal(want.Written) || string(got.Tags["a"]) != "\x00\xff" {
				t.Errorf("%s, %s: %.200v and %v", name, size, got, err)
			}
			for other, codec := range codecs {
				if _, err := notes(reader, codec).Get(t.Context(), size); other != name && !errors.Is(err, rediscache.ErrNotFound) {
					t.Errorf("%s reads what %s has written: %v", other, name, err)
				}
			}
		}
	}

	messages := func(cache *rediscache.Cache) *rediscache.Namespace[*structpb.Struct] {
		return rediscache.Of[*structpb.Struct](cache, "message", rediscache.WithCodec(rediscache.Message("protobuf", proto.Marshal, proto.Unmarshal)))
	}
	want, err := structpb.NewStruct(map[string]any{"patient": 7, "text": strings.Repeat("fine ", 1000), "tags": []any{"a", true, nil}})
	if err != nil {
		t.Fatal(err)
	}
	if err := messages(writer).Set(t.Context(), "7", want); err != nil {
		t.Fatal(err)
	}
	if got, err := messages(reader).Get(t.Context(), "7"); err != nil || !proto.Equal(got, want) {
		t.Errorf("protobuf: %v and %v, want %v", got, err, want)
	}
}

func openCache(t *testing.T, url string) *rediscache.Cache {
	t.Helper()
	cache, err := rediscache.New(rediscache.Config{URL: url, Required: true}, rediscache.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Stop(context.Background()) })
	return cache
}
