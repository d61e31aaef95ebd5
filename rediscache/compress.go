package rediscache

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// A Compression says how large values are made smaller.
type Compression int

const (
	// S2 is fast enough to be invisible beside a round trip. The default.
	S2 Compression = iota
	// Zstd is some 30 % smaller, at a few times the cost.
	Zstd
	// NoCompression stores values as the codec made them.
	NoCompression
)

// DefaultCompressAbove is the encoded size in bytes from which values are
// compressed: below, the saving is not worth the work.
const DefaultCompressAbove = 1 << 10

// The codecs of zstd are expensive to make and safe for concurrent use of
// EncodeAll and DecodeAll; with concurrency 1 they start no goroutines.
var (
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
		return e
	})
	zstdDecoders sync.Map // of *zstd.Decoder by memory limit
)

func zstdDecoder(limit int64) *zstd.Decoder {
	if d, ok := zstdDecoders.Load(limit); ok {
		return d.(*zstd.Decoder)
	}
	d, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limit)), zstd.WithDecoderLowmem(true))
	actual, _ := zstdDecoders.LoadOrStore(limit, d)
	return actual.(*zstd.Decoder)
}

// compress returns the smaller form of data and its flag; data itself if that
// is smaller.
func (k Compression) compress(data []byte, above int) ([]byte, byte) {
	if k == NoCompression || len(data) < above {
		return data, compressNone
	}
	var packed []byte
	var flag byte
	if k == Zstd {
		packed, flag = zstdEncoder().EncodeAll(data, make([]byte, 0, len(data)/2)), compressZstd
	} else {
		packed, flag = s2.Encode(nil, data), compressS2
	}
	if len(packed) >= len(data) {
		return data, compressNone
	}
	return packed, flag
}

var errBomb = errors.New("decompresses to more than REDIS_MAX_REPLY_BYTES")

// decompress undoes compress. The result is bounded whatever the data claims.
func decompress(data []byte, flags byte, limit int64) ([]byte, error) {
	switch flags & compression {
	case compressNone:
		return data, nil
	case compressS2:
		n, err := s2.DecodedLen(data)
		if err != nil {
			return nil, fmt.Errorf("s2: %w", err)
		}
		if int64(n) > limit {
			return nil, errBomb
		}
		return s2.Decode(nil, data)
	case compressZstd:
		out, err := zstdDecoder(limit).DecodeAll(data, nil)
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return out, nil
	default:
		return nil, errForeign
	}
}
