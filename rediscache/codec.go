package rediscache

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"reflect"
)

// A Codec turns the values of a namespace into bytes and back. Implementations
// must be safe for concurrent use and must not keep data.
//
// Stored values carry ID. A value that was stored by another codec is a miss,
// so that changing the codec of a namespace needs no flush.
type Codec interface {
	// ID tells codecs apart. 0 to 15 are this package's.
	ID() byte
	// Marshal encodes v, a value of the namespace's type.
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes data into dst, a pointer to the namespace's type.
	Unmarshal(data []byte, dst any) error
}

// JSON is the default codec: encoding/json, readable by any other program.
var JSON Codec = jsonCodec{}

// Raw stores []byte and string as they are. It is for namespaces of these two
// types only; [Of] panics for another.
var Raw Codec = rawCodec{}

type jsonCodec struct{}

func (jsonCodec) ID() byte                             { return 0 }
func (jsonCodec) Marshal(v any) ([]byte, error)        { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, dst any) error { return json.Unmarshal(data, dst) }

type rawCodec struct{}

func (rawCodec) ID() byte { return 1 }

func (rawCodec) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		return v, nil
	case string:
		return []byte(v), nil
	}
	return nil, fmt.Errorf("codec Raw is for []byte and string, not %T", v)
}

func (rawCodec) Unmarshal(data []byte, dst any) error {
	switch dst := dst.(type) {
	case *[]byte:
		*dst = append(make([]byte, 0, len(data)), data...)
		return nil
	case *string:
		*dst = string(data)
		return nil
	}
	return fmt.Errorf("codec Raw is for []byte and string, not %T", dst)
}

// Encoding makes a codec of any pair of functions shaped like those of
// encoding/json. The name, as one of 240 numbers, tells its values from those
// of other codecs.
//
//	rediscache.Encoding("msgpack", msgpack.Marshal, msgpack.Unmarshal)
//	rediscache.Encoding("cbor", cbor.Marshal, cbor.Unmarshal)
//
// The libraries are the host's choice: this package depends on none of them.
func Encoding(name string, marshal func(v any) ([]byte, error), unmarshal func(data []byte, dst any) error) Codec {
	return funcCodec{id: codecID(name), marshal: marshal, unmarshal: unmarshal}
}

// Message makes a codec of functions that work on an interface which pointers
// to the namespace's values implement, as protobuf's do. The namespace's type
// is the pointer: Of[*pb.User](…). A nil pointer is not stored.
//
//	rediscache.Message("protobuf", proto.Marshal, proto.Unmarshal)
func Message[M any](name string, marshal func(M) ([]byte, error), unmarshal func([]byte, M) error) Codec {
	return funcCodec{
		id: codecID(name),
		marshal: func(v any) ([]byte, error) {
			m, ok := v.(M)
			if !ok {
				return nil, fmt.Errorf("codec %s: %T is not a %v", name, v, reflect.TypeFor[M]())
			}
			if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && p.IsNil() {
				return nil, fmt.Errorf("codec %s: a nil message would come back as an empty one", name)
			}
			return marshal(m)
		},
		unmarshal: func(data []byte, dst any) error {
			// dst is a **T; the message is a *T that does not exist yet.
			slot := reflect.ValueOf(dst).Elem()
			if slot.Kind() != reflect.Pointer {
				return fmt.Errorf("codec %s: the namespace's type must be a pointer, not %v", name, slot.Type())
			}
			fresh := reflect.New(slot.Type().Elem())
			m, ok := reflect.TypeAssert[M](fresh)
			if !ok {
				return fmt.Errorf("codec %s: %v is not a %v", name, slot.Type(), reflect.TypeFor[M]())
			}
			if err := unmarshal(data, m); err != nil {
				return err
			}
			slot.Set(fresh)
			return nil
		},
	}
}

type funcCodec struct {
	id        byte
	marshal   func(v any) ([]byte, error)
	unmarshal func(data []byte, dst any) error
}

func (c funcCodec) ID() byte                             { return c.id }
func (c funcCodec) Marshal(v any) ([]byte, error)        { return c.marshal(v) }
func (c funcCodec) Unmarshal(data []byte, dst any) error { return c.unmarshal(data, dst) }

// codecID folds a name into 16 to 255.
func codecID(name string) byte {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return byte(16 + h.Sum32()%240)
}
