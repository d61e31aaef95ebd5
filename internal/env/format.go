package env

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// hidden stands where a secret was.
const hidden = "[hidden]"

// Format renders a Config for people: its non-zero fields by name, secrets
// hidden.
func Format(cfg any) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, attr := range attrs(cfg) {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s:%v", attr.Key, attr.Value)
	}
	b.WriteByte('}')
	return b.String()
}

// LogValue renders a Config for slog: a group of its non-zero fields, secrets
// hidden.
func LogValue(cfg any) slog.Value { return slog.GroupValue(attrs(cfg)...) }

// MarshalJSON renders a Config for encoding/json: its non-zero fields by name,
// durations as text, secrets hidden. What it writes is for reading, not for
// loading again.
func MarshalJSON(cfg any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, attr := range attrs(cfg) {
		if i > 0 {
			b.WriteByte(',')
		}
		value := attr.Value.Any()
		if d, ok := value.(time.Duration); ok {
			value = d.String()
		}
		data, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%q:%s", attr.Key, data)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func attrs(cfg any) []slog.Attr {
	v := reflect.ValueOf(cfg)
	var list []slog.Attr
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() || v.Field(i).IsZero() {
			continue
		}
		value := v.Field(i).Interface()
		switch field.Tag.Get("secret") {
		case "":
		case "url":
			value = redactURLs(value)
		default:
			value = hidden
		}
		list = append(list, slog.Any(field.Name, value))
	}
	return list
}

func redactURLs(value any) any {
	switch value := value.(type) {
	case string:
		return RedactURL(value)
	case []string:
		shown := make([]string, len(value))
		for i, s := range value {
			shown[i] = RedactURL(s)
		}
		return shown
	default:
		return hidden
	}
}

// RedactURL returns the scheme, host and path of a URL. User info, query and
// fragment can all hold a secret; what does not parse, or is no URL, may be
// one altogether and is hidden whole.
func RedactURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || (u.Host == "" && u.Path == "") || u.Opaque != "" {
		return hidden
	}
	if u.User == nil && strings.Contains(s, "@") {
		return hidden // a password with an unescaped / or # or ? in it is taken for host, port and path
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}
