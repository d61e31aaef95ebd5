package rediscache

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"
)

// An envelope is how a namespace stores a value: a header, and what the codec
// made of the value.
//
//	byte 0     version, 1: no JSON text begins with it
//	byte 1     flags: negative, tombstone, compression
//	byte 2     codec
//	byte 3-10  id: random, new with every write
//	byte 11-18 generation of the namespace
//	uvarint    created, milliseconds since 1970
//	uvarint    fresh, milliseconds after created; 0 for ever
//	uvarint    number of tags; for each its name's length, its name, 8 bytes of version
//	rest       the value
//
// The id makes a write-back conditional: a load stores its result only if what
// it saw before it loaded is still there.
type envelope struct {
	flags   byte
	codec   byte
	id      uint64
	gen     uint64
	created time.Time
	fresh   time.Duration
	tags    []tagVersion
	payload []byte
}

// A tagVersion is a tag and the version that it had when the value was made.
type tagVersion struct {
	tag     string
	version uint64
}

const (
	envelopeVersion = 1
	sealLen         = 11 // version, flags, codec, id: what identifies a write
	headerLen       = 19

	flagNegative  = 1 << 0 // the loader found nothing
	flagTombstone = 1 << 1 // deleted; stops loads that began before
	compression   = 3 << 2 // mask
	compressNone  = 0 << 2
	compressS2    = 1 << 2
	compressZstd  = 2 << 2
	flagsKnown    = flagNegative | flagTombstone | compression
)

// Why bytes are no envelope. They are counted, and otherwise a miss.
var (
	errForeign   = errors.New("not written by this package, or by another version")
	errTruncated = errors.New("truncated")
)

// newEnvelope is one written now.
func newEnvelope(now time.Time) envelope {
	return envelope{id: rand.Uint64(), created: now} //nolint:gosec // tells writes apart; nobody guesses it for gain
}

// freshUntil returns when the value goes stale; false means never.
func (e *envelope) freshUntil() (time.Time, bool) {
	if e.fresh == 0 {
		return time.Time{}, false
	}
	return e.created.Add(e.fresh), true
}

// append appends the stored form.
func (e *envelope) append(b []byte) []byte {
	b = append(b, envelopeVersion, e.flags, e.codec)
	b = binary.BigEndian.AppendUint64(b, e.id)
	b = binary.BigEndian.AppendUint64(b, e.gen)
	b = binary.AppendUvarint(b, uint64(e.created.UnixMilli()))
	b = binary.AppendUvarint(b, uint64(e.fresh.Milliseconds()))
	b = binary.AppendUvarint(b, uint64(len(e.tags)))
	for _, t := range e.tags {
		b = binary.AppendUvarint(b, uint64(len(t.tag)))
		b = append(b, t.tag...)
		b = binary.BigEndian.AppendUint64(b, t.version)
	}
	return append(b, e.payload...)
}

// maxTags bounds the tags of one value; more is an error when writing, and
// corruption when reading.
const maxTags = 64

// parse reads the stored form. The payload shares b's memory.
func (e *envelope) parse(b []byte) error {
	if len(b) < headerLen || b[0] != envelopeVersion || b[1]&^flagsKnown != 0 {
		return errForeign
	}
	*e = envelope{
		flags: b[1], codec: b[2],
		id: binary.BigEndian.Uint64(b[3:]), gen: binary.BigEndian.Uint64(b[11:]),
	}
	b = b[headerLen:]
	var fields [3]uint64
	for i := range fields {
		n, used := binary.Uvarint(b)
		if used <= 0 {
			return errTruncated
		}
		fields[i], b = n, b[used:]
	}
	const mostMillis = 1 << 52
	if fields[0] > mostMillis || fields[1] > mostMillis/1000 || fields[2] > maxTags {
		return errForeign
	}
	e.created = time.UnixMilli(int64(fields[0]))
	e.fresh = time.Duration(fields[1]) * time.Millisecond
	for range fields[2] {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)) || uint64(len(b)-used) < n+8 {
			return errTruncated
		}
		b = b[used:]
		e.tags = append(e.tags, tagVersion{tag: string(b[:n]), version: binary.BigEndian.Uint64(b[n:])})
		b = b[n+8:]
	}
	e.payload = b
	return nil
}

// A seal is the first bytes of a stored form, by which a later write-back knows
// whether it is still there. The zero value means that there was nothing.
type seal struct {
	there bool
	n     uint8
	bytes [sealLen]byte
}

func sealOf(stored []byte) seal {
	s := seal{there: true}
	s.n = uint8(copy(s.bytes[:], stored))
	return s
}
